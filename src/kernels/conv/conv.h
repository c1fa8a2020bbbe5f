// Causal convolution of each channel by itself along the tokens, as recurrent layers have it before their
// state (Gu & Dao, "Mamba", 2023) and LFM2 in its place:
//
//   y_tc = act(bias_c + sum_j w_cj x_(t - (d_conv - 1) + j)c),   j = 0 .. d_conv - 1
//
// act is SiLU or nothing; inputs before a segment's first token are zeros. Weights lie as in GGUF, the taps
// of a channel side by side, the last of them for the token itself. Tokens are rows; rows of x and y may be
// columns of wider ones, whose lengths (strides) are in numbers. All arrays are f32; outputs must not overlap
// inputs. Results do not depend on the number of threads, nor on how a sequence is cut into calls.
#pragma once

#include <cstdint>
#include <span>

#include "base/parallel.h"
#include "kernels/attention/attention.h"

namespace lora {

constexpr int64_t kMaxConv = 16;  // most taps

struct ConvForm {
  const float* w;     // (n_channels, d_conv)
  const float* bias;  // (n_channels), or nullptr
  int64_t n_channels, d_conv;
  bool silu = false;
};

// Segments are rows q_begin .. q_begin + n_q; rows that none covers are left alone. Error if d_conv is not in
// 1 .. kMaxConv; so below.
void causal_conv_forward(float* y, int64_t y_stride,        // (n_tokens, n_channels)
                         const float* x, int64_t x_stride,  // (n_tokens, n_channels)
                         std::span<const AttentionSegment> segments, const ConvForm& form, ThreadPool& pool);

// The gradient for x, overwritten. With SiLU the convolution is computed again for its slope:
//
//   dx_tc = sum_j w_cj dy_sc act'(.)_sc,   s = t + (d_conv - 1) - j in t's segment
void causal_conv_backward(float* dx, int64_t dx_stride,        // (n_tokens, n_channels)
                          const float* dy, int64_t dy_stride,  // (n_tokens, n_channels)
                          const float* x, int64_t x_stride,    // (n_tokens, n_channels); unread without SiLU
                          std::span<const AttentionSegment> segments, const ConvForm& form, ThreadPool& pool);

// Generation's form: some tokens behind those whose last d_conv - 1 inputs are in `state`, the oldest first;
// zeros where nothing is before. `state` becomes that behind these tokens.
void causal_conv_next(float* y, int64_t y_stride,        // (n_tokens, n_channels)
                      float* state,                      // (d_conv - 1, n_channels)
                      const float* x, int64_t x_stride,  // (n_tokens, n_channels)
                      int64_t n_tokens, const ConvForm& form, ThreadPool& pool);

}  // namespace lora
