// A norm with a gain that may be trained, forward and backward (kernels/rmsnorm, kernels/layernorm):
//
//   rms:    y_i = x_i rstd g_i                  dg_i = sum over rows of dy_i x_i rstd
//   layer:  y_i = (x_i - mean) rstd g_i + b_i   dg_i = sum over rows of dy_i (x_i - mean) rstd
#pragma once

#include <cstdint>
#include <string_view>

#include "base/buffer.h"
#include "base/parallel.h"

namespace lora {

enum class NormKind { none, rms, layer };

struct Norm {
  NormKind kind = NormKind::none;  // none: y = x
  std::string_view tensor;         // as in NormSpec
  float eps = 1e-5f;
  Buffer<float> gain;              // (n), the model's
  Buffer<float> bias;              // (n), or none
  const float* trained = nullptr;  // (n), computed with in its place
  float* gradient = nullptr;       // (n), added to; nullptr: not trained

  explicit operator bool() const { return kind != NormKind::none; }
  const float* weight() const { return trained ? trained : gain.data(); }
  int64_t n() const { return gain.size(); }
};

// y may be x. Both (n_rows, n). Not for NormKind::none.
void norm_forward(float* y, const float* x, const Norm& norm, int64_t n_rows, ThreadPool& pool);

// The gradient for x, with `add` on top of what dx holds; nothing of it if dx is nullptr. All (n_rows, n). dx
// must not overlap dy; without `add` it may be x. Not for NormKind::none.
void norm_backward(float* dx, const float* dy, const float* x, const Norm& norm, int64_t n_rows, bool add,
                   ThreadPool& pool);

}  // namespace lora
