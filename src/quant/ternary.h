// TQ1_0 and TQ2_0: 256 values of -1, 0 or 1 times one scale, in 1.7 and 2 bits.
//
//   TQ1_0, 54 bytes: u8 qs[48], u8 qh[4], f16 d
//     Five digits of base 3 in a byte, four in one of qh. A byte is (256 / 243) times the number that they
//     make, rounded up: then digit k, the first one being the highest, is what runs over when the byte's
//     lowest 8 bits times 3^k are multiplied by 3. Digit k of byte j is value 32 k + j of the first 32
//     bytes; 160 + 16 k + j of the 16 behind; 240 + 4 k + j of qh.
//   TQ2_0, 66 bytes: u8 qs[64], f16 d
//     Each half of 128 values takes 32 bytes: bits 2 s .. of byte l are value 32 s + l of the half.
//
// value = (q - 1) * d, q a digit or two bits (of which files hold 0 to 2)
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/block.h"
#include "quant/encode.h"

namespace lora {

struct LORA_BLOCK BlockTQ1_0 {
  uint8_t qs[48];
  uint8_t qh[4];
  f16 d;
};
static_assert(sizeof(BlockTQ1_0) == 54);

struct LORA_BLOCK BlockTQ2_0 {
  uint8_t qs[64];
  f16 d;
};
static_assert(sizeof(BlockTQ2_0) == 66);

inline constexpr uint8_t powers_of_3[] = {1, 3, 9, 27, 81};

// Digit k of each of n bytes, n values behind the last.
template <int n, int n_digits>
LORA_INLINE void decode_digits(float* __restrict values, const uint8_t* __restrict bytes, float d) {
  for (int k = 0; k < n_digits; ++k) {
    for (int j = 0; j < n; ++j) {
      const auto low = uint8_t(bytes[j] * powers_of_3[k]);
      values[k * n + j] = float((low * 3 >> 8) - 1) * d;
    }
  }
}

// Each decodes n values, a multiple of 256.
LORA_INLINE void decode_tq1_0(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockTQ1_0)) {
    const auto& block = block_at<BlockTQ1_0>(blocks);
    const float d = to_f32(block.d);
    decode_digits<32, 5>(values, block.qs, d);
    decode_digits<16, 5>(values + 160, block.qs + 32, d);
    decode_digits<4, 4>(values + 240, block.qh, d);
  }
}

LORA_INLINE void decode_tq2_0(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockTQ2_0)) {
    const auto& block = block_at<BlockTQ2_0>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 8; ++group) {
      const uint8_t* q = block.qs + group / 4 * 32;
      const int shift = group % 4 * 2;
      for (int l = 0; l < 32; ++l) values[group * 32 + l] = float((q[l] >> shift & 3) - 1) * d;
    }
  }
}

// Up to a threshold from 0.9 down to an eighth of the largest value, values become 0.
inline constexpr auto ternary_targets = steps<24>(0.55f, 4.0f);

// Encodes n values, a multiple of 256; pack(block, q) stores their 0, 1 or 2.
template <class Search, class Block, class Pack>
LORA_INLINE void encode_ternary(std::byte* blocks, const float* values, int64_t n, const float* importance,
                                const Pack& pack) {
  const auto encode_some = [&](const SearchInput<k_block_size>& input, int n_groups, const float* x) {
    float scale[kSearchGroups];
    constexpr typename Search::Integers range{-1, 1};
    Search::scales(scale, input, range, ternary_targets, 2);
    for (int g = 0; g < n_groups; ++g, blocks += sizeof(Block)) {
      auto& block = block_at<Block>(blocks);
      block.d = to_f16_scale(std::fabs(scale[g]));
      uint8_t q[k_block_size];
      Search::template integers<k_block_size>(q, x + g * k_block_size, to_f32(block.d), 0, range);
      pack(block, q);
    }
  };
  for_each_16_groups<k_block_size>(values, n, importance, encode_some);
}

// Four or five digits for each of n bytes.
template <int n, int n_digits>
LORA_INLINE void pack_digits(uint8_t* bytes, const uint8_t* q) {
  for (int j = 0; j < n; ++j) {
    int number = 0;
    for (int k = 0; k < 5; ++k) number = number * 3 + (k < n_digits ? q[k * n + j] : 0);
    bytes[j] = uint8_t((number * 256 + 242) / 243);
  }
}

template <class Search>
LORA_INLINE void encode_tq1_0(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                              const float* importance) {
  encode_ternary<Search, BlockTQ1_0>(blocks, values, n, importance, [](BlockTQ1_0& block, const uint8_t* q) {
    pack_digits<32, 5>(block.qs, q);
    pack_digits<16, 5>(block.qs + 32, q + 160);
    pack_digits<4, 4>(block.qh, q + 240);
  });
}

template <class Search>
LORA_INLINE void encode_tq2_0(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                              const float* importance) {
  encode_ternary<Search, BlockTQ2_0>(blocks, values, n, importance, [](BlockTQ2_0& block, const uint8_t* q) {
    for (int half = 0; half < 2; ++half, q += 128) {
      for (int l = 0; l < 32; ++l)
        block.qs[half * 32 + l] = uint8_t(q[l] | q[l + 32] << 2 | q[l + 64] << 4 | q[l + 96] << 6);
    }
  });
}

}  // namespace lora
