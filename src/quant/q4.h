// Q4_0 and Q4_1: 32 values of 4 bits with one scale (and one minimum) per block.
//
//   Q4_0, 18 bytes: f16 d, u8 qs[16]             value = (q - 8) * d
//   Q4_1, 20 bytes: f16 d, f16 m, u8 qs[16]      value = q * d + m
//
// The low nibble of qs[j] is value j, the high nibble value j + 16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace lora {

struct BlockQ4_0 {
  f16 d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

struct BlockQ4_1 {
  f16 d, m;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

// Each decodes n values, a multiple of 32.
void decode_q4_0(float* values, const std::byte* blocks, int64_t n);
void decode_q4_1(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
