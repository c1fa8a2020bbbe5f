// IQ3_XXS and IQ3_S: groups of 32 values, of which each four have their magnitudes from a book (iq_grids.h)
// and a sign each.
//
//   IQ3_XXS, 98 bytes: f16 d, u8 qs[64], u32 signs_and_scale[8]
//     an index for each four values; per group seven bits of signs for each eight (even_signs), above them a
//     4-bit scale
//     value = d * (scale + 1/2) / 2 * magnitude
//   IQ3_S, 110 bytes: f16 d, u8 qs[64], u8 qh[8], u8 signs[32], u8 scales[4]
//     nine bits of index, of which bit i of qh is the highest for the i-th four of a group; a byte of signs
//     for each eight; a 4-bit scale per group, the first in the low nibble value = d * (2 scale + 1) *
//     magnitude
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/block.h"
#include "quant/iq2.h"
#include "quant/iq_grids.h"

namespace lora {

struct LORA_BLOCK BlockIQ3_XXS {
  f16 d;
  uint8_t qs[64];
  uint32_t signs_and_scale[8];
};
static_assert(sizeof(BlockIQ3_XXS) == 98);

struct LORA_BLOCK BlockIQ3_S {
  f16 d;
  uint8_t qs[64];
  uint8_t qh[8];
  uint8_t signs[32];
  uint8_t scales[4];
};
static_assert(sizeof(BlockIQ3_S) == 110);

// Of the i-th four of a group.
LORA_INLINE uint32_t iq3_s_index(const BlockIQ3_S& block, int group, int i) {
  return block.qs[group * 8 + i] | (uint32_t(block.qh[group]) >> i & 1) << 8;
}

// Each decodes n values, a multiple of 256.
LORA_INLINE void decode_iq3_xxs(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, blocks += sizeof(BlockIQ3_XXS)) {
    const auto& block = block_at<BlockIQ3_XXS>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 8; ++group) {
      const uint32_t word = block.signs_and_scale[group], signs = even_signs(word);
      const float scale = d * (0.5f + float(word >> 28)) * 0.5f;
      for (int i = 0; i < 8; ++i, values += 4)
        decode_signed(values, iq3_xxs_grid[block.qs[group * 8 + i]], signs >> 4 * i, scale);
    }
  }
}

LORA_INLINE void decode_iq3_s(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, blocks += sizeof(BlockIQ3_S)) {
    const auto& block = block_at<BlockIQ3_S>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 8; ++group) {
      const float scale = d * float(1 + 2 * (block.scales[group / 2] >> group % 2 * 4 & 15));
      for (int i = 0; i < 8; ++i, values += 4) {
        const uint32_t signs = block.signs[group * 4 + i / 2] >> i % 2 * 4;
        decode_signed(values, iq3_s_grid[iq3_s_index(block, group, i)], signs, scale);
      }
    }
  }
}

}  // namespace lora
