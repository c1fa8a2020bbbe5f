// The plain form of layernorm.h: the `scalar` kernel set with T = float, the finite-difference tests with T =
// double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace lora {

// Of one row. The mean is in two parts: the sum as it was rounded, over n, and what that is off by, which the
// sum of the differences tells.
template <class T>
struct LayerNormMoments {
  T mean, rest, rstd;
  T center(T x) const { return (x - mean) - rest; }
};

template <class T>
LayerNormMoments<T> layer_norm_moments(T sum, T sum_of_differences, T sum_of_squares, T eps, int64_t n_embd) {
  const T n = T(n_embd), rest = sum_of_differences / n;
  const T variance = std::max(T(0), (sum_of_squares - sum_of_differences * rest) / n);
  return {sum / n, rest, 1 / std::sqrt(variance + eps)};
}

template <class T>
LayerNormMoments<T> layer_norm_moments(const T* x, T eps, int64_t n_embd) {
  T sum = 0, differences = 0, squares = 0;
  for (int64_t i = 0; i < n_embd; ++i) sum += x[i];
  const T mean = sum / T(n_embd);
  for (int64_t i = 0; i < n_embd; ++i) {
    differences += x[i] - mean;
    squares += (x[i] - mean) * (x[i] - mean);
  }
  return layer_norm_moments(sum, differences, squares, eps, n_embd);
}

template <class T>
void layer_norm_forward_reference(T* y, const T* x, const T* weight, const T* bias, T eps, int64_t n_tokens,
                                  int64_t n_embd) {
  for (int64_t t = 0; t < n_tokens; ++t, x += n_embd, y += n_embd) {
    const LayerNormMoments<T> m = layer_norm_moments(x, eps, n_embd);
    for (int64_t i = 0; i < n_embd; ++i) {
      y[i] = m.center(x[i]) * m.rstd * (weight ? weight[i] : T(1)) + (bias ? bias[i] : T(0));
    }
  }
}

template <class T>
void layer_norm_backward_reference(T* dx, const T* dy, const T* x, const T* weight, T eps, int64_t n_tokens,
                                   int64_t n_embd, bool add) {
  for (int64_t t = 0; t < n_tokens; ++t, x += n_embd, dy += n_embd, dx += n_embd) {
    const LayerNormMoments<T> m = layer_norm_moments(x, eps, n_embd);
    const auto g = [&](int64_t i) { return (weight ? weight[i] : T(1)) * dy[i]; };
    T sum = 0, dot = 0;
    for (int64_t i = 0; i < n_embd; ++i) {
      sum += g(i);
      dot += g(i) * m.center(x[i]);
    }
    const T along_one = sum * m.rstd / T(n_embd), along_x = dot * m.rstd * m.rstd * m.rstd / T(n_embd);
    for (int64_t i = 0; i < n_embd; ++i) {
      dx[i] = (add ? dx[i] : T(0)) + (m.rstd * g(i) - along_one - along_x * m.center(x[i]));
    }
  }
}

// Columns of dweight that one task sums.
constexpr int64_t kLayerNormColumns = 64;

// Columns [begin, end).
template <class T>
void layer_norm_weight_gradient_reference(T* dweight, const T* dy, const T* x,
                                          const LayerNormMoments<T>* moments, int64_t n_tokens,
                                          int64_t n_embd, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    T sum = 0;
    for (int64_t t = 0; t < n_tokens; ++t) {
      sum += dy[t * n_embd + i] * (moments[t].center(x[t * n_embd + i]) * moments[t].rstd);
    }
    dweight[i] += sum;
  }
}

}  // namespace lora
