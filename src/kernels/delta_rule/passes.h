// What a task of the gated delta rule computes: the value heads of one key head over one segment.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/delta_rule/delta_rule.h"

namespace lora {

// Tokens begin .. begin + n from the states at `states`: a matrix for each value head of the key head, of
// which the i-th begins i * states_row numbers behind the first. kept as in delta_rule_forward().
struct DeltaForward {
  float *out, *kept, *states;
  int64_t states_row;
  const DeltaRuleInput& in;
  const DeltaRuleShape& shape;
};
void delta_forward(const DeltaForward& pass, int64_t head_k, int64_t begin, int64_t n, std::byte* scratch);

// A few tokens of one value head, one by one, from its state.
void delta_tokens(float* out, float* state, const DeltaRuleInput& in, const DeltaRuleShape& shape,
                  int64_t head_k, int64_t head_v, int64_t n, std::byte* scratch);

struct DeltaBackward {
  const DeltaRuleGradients<float>& to;
  const float *dout, *out, *kept;
  const DeltaRuleInput& in;
  const DeltaRuleShape& shape;
};
void delta_backward(const DeltaBackward& pass, int64_t head_k, int64_t begin, int64_t n, std::byte* scratch);

// Bytes of scratch, a multiple of 64. The forward pass has room for its states, too: the first numbers.
int64_t delta_forward_bytes(const DeltaRuleShape& shape);
int64_t delta_backward_bytes(const DeltaRuleShape& shape);

// Where the state at a token, the first of a span but a segment's first, is kept.
inline int64_t delta_kept_at(const DeltaRuleShape& shape, int64_t token, int64_t head_v) {
  return ((token / kDeltaSpan - 1) * shape.n_head_v + head_v) * shape.state_size();
}

}  // namespace lora
