// Root-mean-square normalization (Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019).
//
//   y_i = x_i * rstd * w_i,   rstd = 1 / sqrt(mean_j(x_j^2) + eps)
//
// weight may be nullptr: all 1. The heads of queries and keys are rows of their own: n_tokens * n_head of
// them. All arrays are f32, dense, row-major. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace lora {

// y may be x.
void rms_norm_forward(float* y,             // (n_tokens, n_embd)
                      const float* x,       // (n_tokens, n_embd)
                      const float* weight,  // (n_embd), or nullptr
                      float eps, int64_t n_tokens, int64_t n_embd, ThreadPool& pool);

// The gradient for x, with `add` on top of what dx holds, as the residual stream wants it; rstd is computed
// again from x.
//
//   dx_i (+)= rstd * w_i dy_i - x_i * rstd^3 / n_embd * sum_j(w_j dy_j x_j)
//
// dx must not overlap dy; without `add` it may be x.
void rms_norm_backward(float* dx,            // (n_tokens, n_embd)
                       const float* dy,      // (n_tokens, n_embd)
                       const float* x,       // (n_tokens, n_embd)
                       const float* weight,  // (n_embd), or nullptr
                       float eps, int64_t n_tokens, int64_t n_embd, bool add, ThreadPool& pool);

// dweight_i += sum over tokens of dy_i x_i rstd, tokens in order. Allocates n_tokens floats.
void rms_norm_weight_gradient(float* dweight,   // (n_embd), added to
                              const float* dy,  // (n_tokens, n_embd)
                              const float* x,   // (n_tokens, n_embd)
                              float eps, int64_t n_tokens, int64_t n_embd, ThreadPool& pool);

}  // namespace lora
