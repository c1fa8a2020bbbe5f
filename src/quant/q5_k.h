// Q5_K: 256 values of 5 bits; 8 groups of 32 values, each with a 6-bit scale and minimum.
//
//   176 bytes: f16 d, f16 dmin, u8 scales[12] (k_scales.h), u8 qh[32], u8 qs[128]
//
// value = (d * scale) * q - dmin * minimum
// The low four bits of q lie in qs as in Q4_K; bit g of qh[l] is the fifth bit of value l of group g.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace lora {

struct BlockQ5_K {
  f16 d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

// Decodes n values, a multiple of 256.
void decode_q5_k(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
