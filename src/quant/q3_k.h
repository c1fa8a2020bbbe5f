// Q3_K: 256 values of 3 bits; 16 groups of 16 values, each with a 6-bit signed scale.
//
//   110 bytes: u8 hmask[32], u8 qs[64], u8 scales[12], f16 d
//
// value = (d * (scale - 32)) * (q - 4), q = 2 low bits from qs + 4 x the bit from hmask
// Each half h of 128 values takes 32 bytes of qs: bits 2s..2s+1 of byte l (0 <= l < 32,
// 0 <= s < 4) are the low bits of value 128 h + 32 s + l; bit 4 h + s of hmask[l] is its high bit.
// Scale g (0 <= g < 16): its low four bits are the low nibble of scales[g] for g < 8 and the high
// nibble of scales[g - 8] from there on; its upper two are bits 2 (g / 4).. of scales[8 + g % 4].
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace lora {

struct BlockQ3_K {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  f16 d;
};
static_assert(sizeof(BlockQ3_K) == 110);

// Decodes n values, a multiple of 256.
void decode_q3_k(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
