// From logits to the next token: penalty, top-k, top-p, min-p, temperature, draw, in this order
// (the order in which llama.cpp applies the same options).
//
// With l the logits after the penalty, sorted from the highest down (equal ones by id):
//
//   repeat-penalty p   for each distinct token of the last 64: l / p if l > 0, else l p
//                      (Keskar et al., "CTRL", 2019; on non-positive logits p multiplies)
//   top-k k            the first k
//   top-p p            the fewest first ones whose softmax sums to at least p
//                      (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020)
//   min-p p            those with softmax >= p x that of the first (Nguyen et al., 2024)
//   temp t             softmax(l / t) of what is left; t = 0: the first
//
// The draw is random_uniform(seed, Purpose::sampling, 0, step): a text is a function of its seed.
#pragma once

#include <cstdint>
#include <deque>
#include <span>

#include "generate/options.h"
#include "tokenizer/tokenizer.h"

namespace lora {

struct Sampler {
  SamplerOptions options;
  uint64_t seed = 0;
  uint64_t step = 0;           // draws done
  std::deque<Token> recent{};  // the last kPenaltyWindow tokens, prompt included
};

inline constexpr size_t kPenaltyWindow = 64;

// Notes a token of the text, of the prompt or sampled.
void accept(Sampler& sampler, Token token);

// The next token. A logit of -infinity bans its token. Throws Error if no logit is finite, or one is NaN
// or +infinity. Does not accept() the token.
Token sample(Sampler& sampler, std::span<const float> logits);  // (n_vocab)

}  // namespace lora
