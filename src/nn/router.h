// Which experts a token goes to, and how much each counts (Shazeer et al., "Outrageously Large Neural
// Networks", 2017; groups and the bias for the choice: DeepSeek-AI, "DeepSeek-V3", 2024):
//
//   p = softmax(l) or sigmoid(l), l the router's logits
//   chosen: the n_used largest p + choice_bias; of equal ones the first
//   w_j = scale p_j, or with `normalize` scale p_j / (sum of the chosen p + 1e-20); times expert_scale_j
//
// Rows are (token, expert) pairs, sorted by expert, those of an expert by token, so that each expert has its
// rows side by side and no sum depends on threads.
#pragma once

#include <cstdint>

#include "base/arena.h"
#include "base/parallel.h"

namespace lora {

enum class Gating { softmax, sigmoid };

struct RouterForm {
  int64_t n_expert = 0, n_used = 0;
  Gating gating = Gating::softmax;
  bool normalize = false;
  float scale = 1;
  // Experts are in n_group groups of equal size; only those of the n_group_used groups whose best expert (of
  // n_best_of_group 1: DeepSeek-V2), or whose two best together, are highest can be chosen.
  int64_t n_group = 1, n_group_used = 1, n_best_of_group = 2;
};

struct Routing {
  int64_t n_tokens, n_rows;  // n_rows = n_tokens n_used
  float* scores;             // (n_tokens, n_expert): logits, then p
  float* weights;            // (n_tokens, n_used): w of the chosen experts, in the order of experts
  int32_t* rows;             // (n_tokens, n_used): where they are among the rows, ascending
  int32_t* tokens;           // (n_rows)
  int32_t* slots;            // (n_rows): place in weights
  int32_t* begins;           // (n_expert + 1): where an expert's rows begin; the last: n_rows
};

Routing take_routing(Arena& arena, const RouterForm& form, int64_t n_tokens);

// From logits in `scores` to all else. choice_bias, expert_scale: (n_expert), or nullptr. Where a score is
// not finite, some experts are chosen all the same, and their weights are not numbers: a damaged model must
// not answer.
void route(const Routing& routing, const RouterForm& form, const float* choice_bias, ThreadPool& pool,
           const float* expert_scale = nullptr);

// dlogits (n_tokens, n_expert) from dweights (n_tokens, n_used). The choice has no gradient. dlogits may not
// be scores.
void route_backward(float* dlogits, const float* dweights, const Routing& routing, const RouterForm& form,
                    ThreadPool& pool, const float* expert_scale = nullptr);

}  // namespace lora
