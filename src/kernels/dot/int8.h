// Weights times activations in 8-bit integers, for generation.
//
// 32 activations share one scale d = max |x| / 127 and become q = round(x / d). With a weight's codes c,
//
//   sum_i w_i x_i  ~  sum over groups of  scale d sum_i c_i q_i - minimum d sum_i q_i
//
// where a group is the 16 or 32 weights of one scale; sums of codes are exact, those of groups f32. The codes
// are never decoded to floats, so that a product costs about what reading the weights from memory does.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/types.h"

namespace lora {

// The activations of one token. d and sums may be read up to a multiple of eight.
struct Int8Row {
  const int8_t* q;      // (n)
  const float* d;       // (n / 32)
  const float* sums;    // (n / 32): d sum_i q_i of 32 activations
  const float* sums16;  // (n / 16): the same of 16
};

// sum_i w_i d q_i over a row of n weights that lie at `row`.
using Int8Dot = float (*)(const std::byte* row, const Int8Row& x, int64_t n);

// The kernel for weights of this type in the kernel set in use, on this CPU; nullptr if there is none.
Int8Dot int8_dot(Type type);

// A file each. nullptr for types without a kernel, and where the build is for another processor.
Int8Dot avx2_int8_dot(Type type);
Int8Dot avx_vnni_int8_dot(Type type);
Int8Dot avx512_vnni_int8_dot(Type type);
Int8Dot neon_int8_dot(Type type);

}  // namespace lora
