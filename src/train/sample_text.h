// What a model in training says: a prompt that is continued at each evaluation.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "train/setup.h"

namespace lora {

inline constexpr int64_t kSampleTokens = 48;  // that are continued with, at most

// The prompt's tokens: of options.sample_prompt, or, where that is empty, how a held-out sample begins (up
// to a reply that is trained on or, where all is, a third of it). Empty where no prompt was asked for. Error
// if it is longer than the context.
std::vector<Token> sample_prompt(const Setup& setup);

// What continuing it takes.
int64_t sample_bytes(const Setup& setup);

// Its greedy continuation by the model as it stands, whole characters. nullopt if give_up() says so in the
// middle.
std::optional<std::string> continue_sample(Setup& setup, const std::function<bool()>& give_up);

}  // namespace lora
