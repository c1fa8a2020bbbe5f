// Q6_K: 256 values of 6 bits; 16 groups of 16 values, each with an 8-bit signed scale.
//
//   210 bytes: u8 ql[128], u8 qh[64], i8 scales[16], f16 d
//
// value = (d * scale) * (q - 32)
// Each half of 128 values takes 64 bytes of ql and 32 of qh. Value 32 s + l of the half
// (0 <= l < 32, 0 <= s < 4) has its low four bits in ql[32 (s % 2) + l], the low nibble for s < 2
// and the high one from there on, and its upper two in bits 2s..2s+1 of qh[l].
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace lora {

struct BlockQ6_K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  f16 d;
};
static_assert(sizeof(BlockQ6_K) == 210);

// Decodes n values, a multiple of 256.
void decode_q6_k(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
