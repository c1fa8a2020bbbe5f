// Dropout (Srivastava et al., 2014) whose mask is a function of its key and of where a number stands: the
// same in the forward pass, when activations are computed again, after a resume, and for any number of
// threads.
//
//   y_ti = x_ti / (1 - p)   where h(key, t, i) >= p 2^32,   else 0
//
// h: 32 bits, MurmurHash3's finalizer over the column, twice, with 64 bits of the row's own between
// (random_bits(key, dropout, t)).
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace lora {

struct DropoutMask {
  float p;  // probability of dropping, in [0, 1)
  uint64_t key;
};

// y = or, with `add`, += the masked x. Both (n_tokens, n_cols), f32; y may be x. A number that is not finite
// stays so unless it is dropped.
void dropout_apply(float* y, const float* x, int64_t n_tokens, int64_t n_cols, const DropoutMask& mask,
                   bool add, ThreadPool& pool);

}  // namespace lora
