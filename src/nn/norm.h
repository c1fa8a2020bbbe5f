// A norm with a gain that may be trained, forward and backward (kernels/rmsnorm):
//
//   y_i = x_i rstd g_i        dg_i = sum over tokens of dy_i x_i rstd
#pragma once

#include <cstdint>

#include "base/buffer.h"
#include "base/parallel.h"

namespace lora {

struct Norm {
  Buffer<float> gain;              // (n_embd), the model's
  const float* trained = nullptr;  // (n_embd), computed with in its place
  float* gradient = nullptr;       // (n_embd), added to; nullptr: not trained

  const float* weight() const { return trained ? trained : gain.data(); }
};

// y may be x. Both (n_tokens, n_embd).
void norm_forward(float* y, const float* x, const Norm& norm, float eps, int64_t n_tokens, ThreadPool& pool);

// The gradient for x, with `add` on top of what dx holds; nothing of it if dx is nullptr. All (n_tokens,
// n_embd). dx must not overlap dy; without `add` it may be x.
void norm_backward(float* dx, const float* dy, const float* x, const Norm& norm, float eps, int64_t n_tokens,
                   bool add, ThreadPool& pool);

}  // namespace lora
