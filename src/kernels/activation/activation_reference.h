// The plain form of activation.h: the `scalar` kernel set with T = float, the finite-difference tests with T
// = double. Each in the form that loses no digits where the result is small: Phi by erfc, (1 + tanh(u)) / 2
// as 1 / (1 + exp(-2u)).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "base/elementary.h"
#include "kernels/activation/activation.h"

namespace lora {

// gelu_tanh is x times the logistic function of this, 2u.
template <class T>
T gelu_tanh_argument(T x) {
  return T(2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi) * (x + T(0.044715) * x * x * x);
}

// Of silu_clamped.
inline constexpr double kClampedSlope = 1.702, kClampedMost = 7;

template <class T>
T activation_value(T x, Activation activation) {
  switch (activation) {
    case Activation::silu_clamped: {
      const T g = x > T(kClampedMost) ? T(kClampedMost) : x;
      return g / (1 + elementary::exp(-T(kClampedSlope) * g));
    }
    case Activation::silu:
      return x / (1 + elementary::exp(-x));
    case Activation::gelu:
      return x * (elementary::erfc(-x / std::numbers::sqrt2_v<T>) / 2);
    case Activation::gelu_tanh:
      return x / (1 + elementary::exp(-gelu_tanh_argument(x)));
    case Activation::relu:
      return x < 0 ? T(0) : x;
    case Activation::relu_squared:
      return x < 0 ? T(0) : x * x;
  }
  return x;
}

template <class T>
T activation_slope(T x, Activation activation) {
  switch (activation) {
    case Activation::silu_clamped: {
      if (x > T(kClampedMost)) return T(0);
      const T s = 1 / (1 + elementary::exp(-T(kClampedSlope) * x));
      return s * (1 + T(kClampedSlope) * x * (1 - s));
    }
    case Activation::silu: {
      const T s = 1 / (1 + elementary::exp(-x));
      return s * (1 + x * (1 - s));
    }
    case Activation::gelu: {
      const T density = elementary::exp(-x * x / 2) * T(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
      return elementary::erfc(-x / std::numbers::sqrt2_v<T>) / 2 + x * density;
    }
    case Activation::gelu_tanh: {
      const T s = 1 / (1 + elementary::exp(-gelu_tanh_argument(x))), curve = s * (1 - s);
      const T inner = T(2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi) * (1 + T(3 * 0.044715) * x * x);
      return curve == 0 ? s : s + x * curve * inner;  // where s is flat, `inner` may have overflowed
    }
    case Activation::relu:
      return x <= 0 ? T(0) : T(1);
    case Activation::relu_squared:
      return x <= 0 ? T(0) : 2 * x;
  }
  return T(1);
}

// What the gated value is multiplied with, and its slope.
template <class T>
T up_value(T u, Activation activation) {
  if (activation != Activation::silu_clamped) return u;
  return std::min(std::max(u, -T(kClampedMost)), T(kClampedMost)) + 1;
}
template <class T>
T up_slope(T u, Activation activation) {
  return activation == Activation::silu_clamped && std::fabs(u) > T(kClampedMost) ? T(0) : T(1);
}

// Without `up`: not gated.
template <class T>
void gated_forward_reference(T* y, const T* gate, const T* up, int64_t n, Activation activation) {
  for (int64_t i = 0; i < n; ++i)
    y[i] = activation_value(gate[i], activation) * (up ? up_value(up[i], activation) : T(1));
}

// Without `up`: not gated, and no dup.
template <class T>
void gated_backward_reference(T* dgate, T* dup, const T* dy, const T* gate, const T* up, int64_t n,
                              Activation activation) {
  for (int64_t i = 0; i < n; ++i) {
    const T g = gate[i], u = up ? up[i] : T(1), dy_i = dy[i];
    dgate[i] = dy_i * (up ? up_value(u, activation) : T(1)) * activation_slope(g, activation);
    if (up) dup[i] = dy_i * activation_value(g, activation) * up_slope(u, activation);
  }
}

}  // namespace lora
