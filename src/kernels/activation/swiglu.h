// The gated activation of Llama's MLP (Shazeer, "GLU Variants Improve Transformer", 2020).
//
//   y = silu(gate) * up,   silu(g) = g * s,   s = 1 / (1 + exp(-g))
//
// Element by element over n f32 numbers, so any output may be the same array as any input
// (partly overlapping arrays are not allowed).
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace lora {

void swiglu_forward(float* y,           // (n)
                    const float* gate,  // (n)
                    const float* up,    // (n)
                    int64_t n, ThreadPool& pool);

//   dgate = dy * up * s * (1 + gate * (1 - s)),   dup = dy * silu(gate)
//
// Both are overwritten. In place (dgate = gate, dup = up, or either = dy) is fine; dgate and dup
// must differ.
void swiglu_backward(float* dgate,       // (n)
                     float* dup,         // (n)
                     const float* dy,    // (n)
                     const float* gate,  // (n)
                     const float* up,    // (n)
                     int64_t n, ThreadPool& pool);

}  // namespace lora
