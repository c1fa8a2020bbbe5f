// The plain form of rmsnorm.h: the `scalar` kernel set with T = float, the finite-difference tests with T =
// double.
#pragma once

#include <cmath>
#include <cstdint>

namespace lora {

template <class T>
T rms_norm_rstd(const T* x, T eps, int64_t n_embd) {
  T sum = 0;
  for (int64_t i = 0; i < n_embd; ++i) sum += x[i] * x[i];
  return 1 / std::sqrt(sum / T(n_embd) + eps);
}

template <class T>
void rms_norm_forward_reference(T* y, const T* x, const T* weight, T eps, int64_t n_tokens, int64_t n_embd) {
  for (int64_t t = 0; t < n_tokens; ++t, x += n_embd, y += n_embd) {
    const T rstd = rms_norm_rstd(x, eps, n_embd);
    for (int64_t i = 0; i < n_embd; ++i) y[i] = x[i] * rstd * (weight ? weight[i] : T(1));
  }
}

template <class T>
void rms_norm_backward_reference(T* dx, const T* dy, const T* x, const T* weight, T eps, int64_t n_tokens,
                                 int64_t n_embd, bool add) {
  for (int64_t t = 0; t < n_tokens; ++t, x += n_embd, dy += n_embd, dx += n_embd) {
    const T rstd = rms_norm_rstd(x, eps, n_embd);
    const auto w = [&](int64_t i) { return weight ? weight[i] : T(1); };
    T dot = 0;
    for (int64_t i = 0; i < n_embd; ++i) dot += w(i) * dy[i] * x[i];
    const T along_x = dot * rstd * rstd * rstd / T(n_embd);
    for (int64_t i = 0; i < n_embd; ++i) {
      dx[i] = (add ? dx[i] : T(0)) + (rstd * w(i) * dy[i] - along_x * x[i]);
    }
  }
}

// Columns of dweight that one task sums.
constexpr int64_t kRmsNormColumns = 64;

// Columns [begin, end).
template <class T>
void rms_norm_weight_gradient_reference(T* dweight, const T* dy, const T* x, const T* rstd, int64_t n_tokens,
                                        int64_t n_embd, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    T sum = 0;
    for (int64_t t = 0; t < n_tokens; ++t) sum += dy[t * n_embd + i] * x[t * n_embd + i] * rstd[t];
    dweight[i] += sum;
  }
}

}  // namespace lora
