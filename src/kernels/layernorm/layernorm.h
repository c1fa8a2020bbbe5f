// Layer normalization (Ba et al., "Layer Normalization", 2016).
//
//   y_i = (x_i - mean) * rstd * w_i + b_i,   rstd = 1 / sqrt(var + eps)
//
// with mean and variance over n_embd, the variance by n_embd as well (biased). The mean is taken off before
// squares are summed, so a row whose mean is large beside its spread loses nothing.
//
// weight may be nullptr (all 1, as in OLMo 1), bias may be (all 0). All arrays are f32, dense, row-major.
// Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace lora {

// y may be x.
void layer_norm_forward(float* y,             // (n_tokens, n_embd)
                        const float* x,       // (n_tokens, n_embd)
                        const float* weight,  // (n_embd), or nullptr
                        const float* bias,    // (n_embd), or nullptr
                        float eps, int64_t n_tokens, int64_t n_embd, ThreadPool& pool);

// The gradient for x, with `add` on top of what dx holds; mean and rstd are computed again from x.
//
//   dx_i (+)= rstd * (w_i dy_i - mean_j(w_j dy_j) - c_i rstd^2 mean_j(w_j dy_j c_j)),   c_i = x_i - mean
//
// dx must not overlap dy; without `add` it may be x.
void layer_norm_backward(float* dx,            // (n_tokens, n_embd)
                         const float* dy,      // (n_tokens, n_embd)
                         const float* x,       // (n_tokens, n_embd)
                         const float* weight,  // (n_embd), or nullptr
                         float eps, int64_t n_tokens, int64_t n_embd, bool add, ThreadPool& pool);

// dweight_i += sum over tokens of dy_i (x_i - mean) rstd, tokens in order. Allocates 3 n_tokens floats.
void layer_norm_weight_gradient(float* dweight,   // (n_embd), added to
                                const float* dy,  // (n_tokens, n_embd)
                                const float* x,   // (n_tokens, n_embd)
                                float eps, int64_t n_tokens, int64_t n_embd, ThreadPool& pool);

}  // namespace lora
