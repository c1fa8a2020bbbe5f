// The activations of MLPs, with and without a gate (Shazeer, "GLU Variants Improve Transformer", 2020;
// Hendrycks & Gimpel, "Gaussian Error Linear Units", 2016; So et al., "Primer", 2021).
//
//   silu          x s,   s = 1 / (1 + exp(-x))
//   gelu          x Phi(x),   Phi(x) = (1 + erf(x / sqrt(2))) / 2
//   gelu_tanh     x (1 + tanh(u)) / 2,   u = sqrt(2 / pi) (x + 0.044715 x^3)
//   relu          max(x, 0)
//   relu_squared  max(x, 0)^2
//   silu_clamped  x s,   s = 1 / (1 + exp(-1.702 x)) with x = min(gate, 7); up becomes min(max(up, -7), 7) +
//   1
//                 (gpt-oss; only with a gate)
//
// Element by element over n f32 numbers, so any output may be the same array as any input (partly overlapping
// arrays are not allowed), and an element's bits depend on its inputs alone.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace lora {

enum class Activation { silu, gelu, gelu_tanh, relu, relu_squared, silu_clamped };

// y = act(gate) * up
void gated_forward(float* y,           // (n)
                   const float* gate,  // (n)
                   const float* up,    // (n)
                   int64_t n, Activation activation, ThreadPool& pool);

//   dgate = dy * up * act'(gate),   dup = dy * act(gate)
//
// where silu_clamped has its own up, and no slope beyond its bounds.
// Both are overwritten; they must differ.
void gated_backward(float* dgate,       // (n)
                    float* dup,         // (n)
                    const float* dy,    // (n)
                    const float* gate,  // (n)
                    const float* up,    // (n)
                    int64_t n, Activation activation, ThreadPool& pool);

// y = act(x)
void activation_forward(float* y,        // (n)
                        const float* x,  // (n)
                        int64_t n, Activation activation, ThreadPool& pool);

// dx = dy act'(x), overwritten.
void activation_backward(float* dx,        // (n)
                         const float* dy,  // (n)
                         const float* x,   // (n)
                         int64_t n, Activation activation, ThreadPool& pool);

}  // namespace lora
