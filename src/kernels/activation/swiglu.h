// The gated activation of Llama's MLP, by its own name.
#pragma once

#include "kernels/activation/activation.h"

namespace lora {

inline void swiglu_forward(float* y, const float* gate, const float* up, int64_t n, ThreadPool& pool) {
  gated_forward(y, gate, up, n, Activation::silu, pool);
}

inline void swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up,
                            int64_t n, ThreadPool& pool) {
  gated_backward(dgate, dup, dy, gate, up, n, Activation::silu, pool);
}

}  // namespace lora
