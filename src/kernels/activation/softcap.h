// Soft capping of logits (Gemma Team, "Gemma 2", 2024), element by element over n f32 numbers:
//
//   y = c tanh(x / c)        dx = dy (1 - (y / c)^2)
//
// Any output may be the same array as any input.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace lora {

void softcap_forward(float* y, const float* x, float cap, int64_t n, ThreadPool& pool);

// y: of the forward pass.
void softcap_backward(float* dx, const float* dy, const float* y, float cap, int64_t n, ThreadPool& pool);

}  // namespace lora
