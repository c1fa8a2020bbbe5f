// Q5_0 and Q5_1: 32 values of 5 bits with one scale (and one minimum) per block.
//
//   Q5_0, 22 bytes: f16 d, u8 qh[4], u8 qs[16]           value = (q - 16) * d
//   Q5_1, 24 bytes: f16 d, f16 m, u8 qh[4], u8 qs[16]    value = q * d + m
//
// The low nibble of qs[j] holds the lower four bits of value j, the high nibble those of value
// j + 16; bit i of qh, read as a little-endian u32, is the fifth bit of value i.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace lora {

struct BlockQ5_0 {
  f16 d;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

struct BlockQ5_1 {
  f16 d, m;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

// Each decodes n values, a multiple of 32.
void decode_q5_0(float* values, const std::byte* blocks, int64_t n);
void decode_q5_1(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
