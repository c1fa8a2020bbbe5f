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
#include "quant/block.h"
#include "quant/encode.h"

namespace lora {

struct LORA_BLOCK BlockQ4_0 {
  f16 d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

struct LORA_BLOCK BlockQ4_1 {
  f16 d, m;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

// Each decodes n values, a multiple of 32.
LORA_INLINE void decode_q4_0(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ4_0)) {
    const auto& block = block_at<BlockQ4_0>(blocks);
    const float d = to_f32(block.d);
    for (int j = 0; j < 16; ++j) values[j] = float((block.qs[j] & 15) - 8) * d;
    for (int j = 0; j < 16; ++j) values[j + 16] = float((block.qs[j] >> 4) - 8) * d;
  }
}

LORA_INLINE void decode_q4_1(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ4_1)) {
    const auto& block = block_at<BlockQ4_1>(blocks);
    const float d = to_f32(block.d), m = to_f32(block.m);
    for (int j = 0; j < 16; ++j) values[j] = float(block.qs[j] & 15) * d + m;
    for (int j = 0; j < 16; ++j) values[j + 16] = float(block.qs[j] >> 4) * d + m;
  }
}

inline constexpr auto q4_0_targets = steps<7>(-8.9f, -7.1f);

// Each encodes n values, a multiple of 32.
template <class Search>
LORA_INLINE void encode_q4_0(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float* importance) {
  const auto encode_some = [&](const SearchInput<32>& input, int n_groups, const float* x) {
    float scale[kSearchGroups];
    constexpr typename Search::Integers range{-8, 7};
    Search::scales(scale, input, range, q4_0_targets, 0);
    for (int g = 0; g < n_groups; ++g, blocks += sizeof(BlockQ4_0)) {
      auto& block = block_at<BlockQ4_0>(blocks);
      block.d = to_f16_scale(scale[g]);
      uint8_t q[32];
      Search::template integers<32>(q, x + g * 32, to_f32(block.d), 0, range);
      for (int j = 0; j < 16; ++j) block.qs[j] = uint8_t(q[j] | q[j + 16] << 4);
    }
  };
  for_each_16_groups<32>(values, n, importance, encode_some);
}

inline constexpr auto q4_1_targets = steps<7>(14.1f, 16.0f);

template <class Search>
LORA_INLINE void encode_q4_1(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float* importance) {
  const auto encode_some = [&](const SearchInput<32>& input, int n_groups, const float* x) {
    float scale[kSearchGroups], minimum[kSearchGroups];
    Search::ranges(scale, minimum, input, 15, false, q4_1_targets, 0);
    for (int g = 0; g < n_groups; ++g, blocks += sizeof(BlockQ4_1)) {
      auto& block = block_at<BlockQ4_1>(blocks);
      block.d = to_f16_scale(scale[g]);
      block.m = to_f16_scale(-minimum[g]);
      uint8_t q[32];
      Search::template integers<32>(q, x + g * 32, to_f32(block.d), -to_f32(block.m), {0, 15});
      for (int j = 0; j < 16; ++j) block.qs[j] = uint8_t(q[j] | q[j + 16] << 4);
    }
  };
  for_each_16_groups<32>(values, n, importance, encode_some);
}

}  // namespace lora
