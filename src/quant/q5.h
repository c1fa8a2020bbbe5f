// Q5_0 and Q5_1: 32 values of 5 bits with one scale (and one minimum) per block.
//
//   Q5_0, 22 bytes: f16 d, u8 qh[4], u8 qs[16]           value = (q - 16) * d
//   Q5_1, 24 bytes: f16 d, f16 m, u8 qh[4], u8 qs[16]    value = q * d + m
//
// The low nibble of qs[j] holds the lower four bits of value j, the high nibble those of value
// j + 16; bit i of qh, read as a little-endian u32, is the fifth bit of value i.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/block.h"
#include "quant/encode.h"

namespace lora {

struct LORA_BLOCK BlockQ5_0 {
  f16 d;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

struct LORA_BLOCK BlockQ5_1 {
  f16 d, m;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

LORA_INLINE int q5_low(const uint8_t qs[16], uint32_t qh, int j) {
  return (qs[j] & 15) | int(qh >> j & 1) << 4;
}

LORA_INLINE int q5_high(const uint8_t qs[16], uint32_t qh, int j) {
  return qs[j] >> 4 | int(qh >> (j + 16) & 1) << 4;
}

// Each decodes n values, a multiple of 32.
LORA_INLINE void decode_q5_0(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ5_0)) {
    const auto& block = block_at<BlockQ5_0>(blocks);
    const float d = to_f32(block.d);
    const auto qh = std::bit_cast<uint32_t>(block.qh);
    for (int j = 0; j < 16; ++j) values[j] = float(q5_low(block.qs, qh, j) - 16) * d;
    for (int j = 0; j < 16; ++j) values[j + 16] = float(q5_high(block.qs, qh, j) - 16) * d;
  }
}

LORA_INLINE void decode_q5_1(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ5_1)) {
    const auto& block = block_at<BlockQ5_1>(blocks);
    const float d = to_f32(block.d), m = to_f32(block.m);
    const auto qh = std::bit_cast<uint32_t>(block.qh);
    for (int j = 0; j < 16; ++j) values[j] = float(q5_low(block.qs, qh, j)) * d + m;
    for (int j = 0; j < 16; ++j) values[j + 16] = float(q5_high(block.qs, qh, j)) * d + m;
  }
}

// The five bits of each value to where they lie.
LORA_INLINE void pack_q5(uint8_t qh[4], uint8_t qs[16], const uint8_t q[32]) {
  uint32_t high = 0;
  for (int j = 0; j < 32; ++j) high |= uint32_t(q[j] >> 4) << j;
  for (int j = 0; j < 4; ++j) qh[j] = uint8_t(high >> 8 * j);
  for (int j = 0; j < 16; ++j) qs[j] = uint8_t((q[j] & 15) | q[j + 16] << 4);
}

inline constexpr auto q5_0_targets = steps<7>(-16.9f, -15.1f);

// Each encodes n values, a multiple of 32.
template <class Search>
LORA_INLINE void encode_q5_0(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float* importance) {
  const auto encode_some = [&](const SearchInput<32>& input, int n_groups, const float* x) {
    float scale[kSearchGroups];
    constexpr typename Search::Integers range{-16, 15};
    Search::scales(scale, input, range, q5_0_targets, 0);
    for (int g = 0; g < n_groups; ++g, blocks += sizeof(BlockQ5_0)) {
      auto& block = block_at<BlockQ5_0>(blocks);
      block.d = to_f16_scale(scale[g]);
      uint8_t q[32];
      Search::template integers<32>(q, x + g * 32, to_f32(block.d), 0, range);
      pack_q5(block.qh, block.qs, q);
    }
  };
  for_each_16_groups<32>(values, n, importance, encode_some);
}

inline constexpr auto q5_1_targets = steps<7>(30.1f, 32.0f);

template <class Search>
LORA_INLINE void encode_q5_1(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float* importance) {
  const auto encode_some = [&](const SearchInput<32>& input, int n_groups, const float* x) {
    float scale[kSearchGroups], minimum[kSearchGroups];
    Search::ranges(scale, minimum, input, 31, false, q5_1_targets, 0);
    for (int g = 0; g < n_groups; ++g, blocks += sizeof(BlockQ5_1)) {
      auto& block = block_at<BlockQ5_1>(blocks);
      block.d = to_f16_scale(scale[g]);
      block.m = to_f16_scale(-minimum[g]);
      uint8_t q[32];
      Search::template integers<32>(q, x + g * 32, to_f32(block.d), -to_f32(block.m), {0, 31});
      pack_q5(block.qh, block.qs, q);
    }
  };
  for_each_16_groups<32>(values, n, importance, encode_some);
}

}  // namespace lora
