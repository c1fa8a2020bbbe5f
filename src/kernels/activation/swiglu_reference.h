// The plain form of swiglu.h: the `scalar` kernel set with T = float, the finite-difference tests with T =
// double.
#pragma once

#include <cmath>
#include <cstdint>

namespace lora {

template <class T>
void swiglu_forward_reference(T* y, const T* gate, const T* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

template <class T>
void swiglu_backward_reference(T* dgate, T* dup, const T* dy, const T* gate, const T* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const T g = gate[i], u = up[i], dy_i = dy[i];
    const T s = 1 / (1 + std::exp(-g));
    dgate[i] = dy_i * u * s * (1 + g * (1 - s));
    dup[i] = dy_i * g * s;
  }
}

}  // namespace lora
