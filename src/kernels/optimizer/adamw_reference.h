// The plain form of adamw.h: the `scalar` kernel set with T = float, the tests' yardstick with T = double.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/elementary.h"
#include "kernels/optimizer/adamw.h"

namespace lora {

// What one step multiplies by, computed in f64 and rounded once.
template <class T>
struct AdamWFactors {
  explicit AdamWFactors(const AdamWStep& s)
      : gradient_scale(T(s.gradient_scale)),
        keep(T(1 - s.lr * s.decay)),
        beta1(T(s.beta1)),
        new1(T(1 - s.beta1)),
        beta2(T(s.beta2)),
        new2(T(1 - s.beta2)),
        root_correction(T(1 / std::sqrt(1 - elementary::pow(s.beta2, double(s.t))))),
        step_size(T(s.lr / (1 - elementary::pow(s.beta1, double(s.t))))),
        eps(T(s.eps)) {}
  T gradient_scale, keep, beta1, new1, beta2, new2, root_correction, step_size, eps;
};

template <class T>
void adamw_update_reference(T* p, T* m, T* v, const T* g, int64_t n, const AdamWFactors<T>& f) {
  for (int64_t i = 0; i < n; ++i) {
    const T g_i = g[i] * f.gradient_scale;
    m[i] = f.beta1 * m[i] + f.new1 * g_i;
    v[i] = f.beta2 * v[i] + f.new2 * g_i * g_i;
    p[i] = p[i] * f.keep - f.step_size * m[i] / (std::sqrt(v[i]) * f.root_correction + f.eps);
  }
}

template <class T>
double sum_of_squares_reference(const T* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(x[i]) * double(x[i]);
  return sum;
}

}  // namespace lora
