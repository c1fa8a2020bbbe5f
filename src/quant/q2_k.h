// Q2_K: 256 values of 2 bits; 16 groups of 16 values, each with a 4-bit scale and minimum.
//
//   84 bytes: u8 scales[16], u8 qs[64], f16 d, f16 dmin
//
// scales[g]: low nibble the scale of group g, high nibble its minimum.
// value = (d * scale) * q - dmin * minimum
// Each half of 128 values takes 32 bytes of qs: bits 2s..2s+1 of byte l (0 <= l < 32, 0 <= s < 4)
// hold value 32 s + l of the half.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace lora {

struct BlockQ2_K {
  uint8_t scales[16];
  uint8_t qs[64];
  f16 d, dmin;
};
static_assert(sizeof(BlockQ2_K) == 84);

// Decodes n values, a multiple of 256.
void decode_q2_k(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
