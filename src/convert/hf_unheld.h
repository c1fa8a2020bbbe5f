// What a config.json asks for and GGUF's architecture has no place for.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "convert/hf_config.h"

namespace lora {

// A line for each thing that matters only beyond some length of the text. Error naming the file and the key
// for what would make programs compute another function of the same weights: another activation, windows in
// other layers, a part of the head rotated, other scales of the attention. root: of the language model,
// defaults filled in.
std::vector<std::string> check_unheld(const nlohmann::json& root, const HfConfig& config);

// What a model of a class that no family has is made of that no family's models are: "mixtures of experts".
// "" where its config.json does not tell. root: of the language model.
std::string what_is_foreign(const nlohmann::json& root, std::string_view hf_class);

}  // namespace lora
