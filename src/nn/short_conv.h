// The body of a branch that looks a few tokens back, in place of attention, forward and backward (LFM2:
// Liquid AI, "LFM2 Technical Report", 2025):
//
//   (b, c, u) = Win n,   y = Wout (c * conv(b * u))
//
// conv: each channel by itself along the tokens of a segment (kernels/conv), without activation.
#pragma once

#include <concepts>
#include <type_traits>

#include "kernels/conv/conv.h"
#include "nn/body.h"
#include "nn/linear.h"

namespace lora {

struct ShortConv {
  Linear in;                    // rows: b, c, u, of n_channels each
  const float* conv = nullptr;  // (n_channels, d_conv)
  int64_t d_conv = 0;
  Linear out;

  int64_t n_channels() const { return out.n_in(); }
  ConvForm form() const { return {conv, nullptr, n_channels(), d_conv}; }
};

// What the backward pass needs; overwritten by it.
struct ShortConvKept {
  float* bcu = nullptr;  // (n_tokens, 3 n_channels)
  float* xa_in = nullptr;
  float* xa_out = nullptr;
};

inline PastShape past_shape(const ShortConv& conv) {
  return {.n_state = (conv.d_conv - 1) * conv.n_channels()};
}

ShortConvKept take_kept(Arena& arena, const ShortConv& conv, int64_t n_tokens, Pass pass);

// As in nn/mlp.h. In generation `past` holds the last d_conv - 1 values of b * u.
void body_forward(float* y, bool add, const BodyInput& in, const ShortConv& conv, const ShortConvKept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn);
void body_backward(float* dx, const float* dy, const BodyInput& in, const ShortConv& conv,
                   const ShortConvKept& kept, const Tokens& tokens, NnContext& nn);

template <class C, class Visit>
requires std::same_as<std::remove_const_t<C>, ShortConv>
void for_each_linear(C& conv, const Visit& visit) {
  visit(conv.in, LinearRole::reads_input);
  visit(conv.out, LinearRole::writes_output);
}

}  // namespace lora
