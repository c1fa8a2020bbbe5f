// The plain form of conv.h: the `scalar` kernel set with T = float, the finite-difference tests with T =
// double.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/activation/activation_reference.h"
#include "kernels/attention/attention.h"

namespace lora {

template <class T>
struct ConvFormOf {
  const T* w;     // (n_channels, d_conv)
  const T* bias;  // (n_channels), or nullptr
  int64_t n_channels, d_conv;
  bool silu = false;
};

// Channel c of one token before the activation. x is this token's row; the rows before it are there from
// number `first` on, the token's own being d_conv - 1.
template <class T>
T conv_sum(const T* x, int64_t x_stride, int64_t first, const ConvFormOf<T>& form, int64_t c) {
  T sum = form.bias ? form.bias[c] : T(0);
  for (int64_t j = first; j < form.d_conv; ++j) {
    sum += form.w[c * form.d_conv + j] * x[(j - (form.d_conv - 1)) * x_stride + c];
  }
  return sum;
}

template <class T>
void causal_conv_forward_reference(T* y, int64_t y_stride, const T* x, int64_t x_stride,
                                   std::span<const AttentionSegment> segments, const ConvFormOf<T>& form) {
  for (const AttentionSegment& segment : segments) {
    for (int64_t i = 0; i < segment.n_q; ++i) {
      const int64_t t = segment.q_begin + i, first = std::max<int64_t>(0, form.d_conv - 1 - i);
      for (int64_t c = 0; c < form.n_channels; ++c) {
        const T sum = conv_sum(x + t * x_stride, x_stride, first, form, c);
        y[t * y_stride + c] = form.silu ? activation_value(sum, Activation::silu) : sum;
      }
    }
  }
}

template <class T>
void causal_conv_backward_reference(T* dx, int64_t dx_stride, const T* dy, int64_t dy_stride, const T* x,
                                    int64_t x_stride, std::span<const AttentionSegment> segments,
                                    const ConvFormOf<T>& form) {
  for (const AttentionSegment& segment : segments) {
    for (int64_t i = 0; i < segment.n_q; ++i) {
      for (int64_t c = 0; c < form.n_channels; ++c) {
        T sum = 0;
        for (int64_t j = 0; j < form.d_conv; ++j) {
          const int64_t later = i + form.d_conv - 1 - j;
          if (later >= segment.n_q) continue;
          const int64_t t = segment.q_begin + later, first = std::max<int64_t>(0, form.d_conv - 1 - later);
          T d = dy[t * dy_stride + c];
          if (form.silu)
            d *= activation_slope(conv_sum(x + t * x_stride, x_stride, first, form, c), Activation::silu);
          sum += form.w[c * form.d_conv + j] * d;
        }
        dx[(segment.q_begin + i) * dx_stride + c] = sum;
      }
    }
  }
}

// Rows of `state` are state_stride apart.
template <class T>
void causal_conv_next_reference(T* y, int64_t y_stride, T* state, int64_t state_stride, const T* x,
                                int64_t x_stride, int64_t n_tokens, const ConvFormOf<T>& form) {
  const int64_t n_before = form.d_conv - 1, n = form.n_channels;
  std::vector<T> all(size_t((n_before + n_tokens) * n));  // the state's rows, then the tokens'
  for (int64_t t = 0; t < n_before + n_tokens; ++t) {
    const T* row = t < n_before ? state + t * state_stride : x + (t - n_before) * x_stride;
    std::copy(row, row + n, all.data() + t * n);
  }
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t c = 0; c < n; ++c) {
      const T sum = conv_sum(all.data() + (n_before + t) * n, n, 0, form, c);
      y[t * y_stride + c] = form.silu ? activation_value(sum, Activation::silu) : sum;
    }
  }
  for (int64_t t = 0; t < n_before; ++t) {
    std::copy_n(all.data() + (n_tokens + t) * n, n, state + t * state_stride);
  }
}

}  // namespace lora
