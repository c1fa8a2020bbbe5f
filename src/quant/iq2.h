// IQ2_XXS, IQ2_XS and IQ2_S: groups of 32 values, of which each eight have their magnitudes from a book
// (iq_grids.h) and a sign each.
//
//   IQ2_XXS, 66 bytes: f16 d, 8 groups of { u8 index[4], u32 signs_and_scale }
//     seven bits of signs for each eight (even_signs), above them a 4-bit scale of the group
//   IQ2_XS, 74 bytes: f16 d, u16 qs[32], u8 scales[8]
//     nine bits of index below seven of signs; a 4-bit scale for each 16 values, the first in the low nibble
//   IQ2_S, 82 bytes: f16 d, u8 qs[32], u8 signs[32], u8 qh[8], u8 scales[8]
//     ten bits of index, of which bits 2 l .. of qh are the upper two for the l-th eight of a group; a byte
//     of signs for each eight; scales as in IQ2_XS
//
// value = d * (scale + 1/2) / 4 * magnitude
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "quant/block.h"
#include "quant/iq_grids.h"

namespace lora {

struct LORA_BLOCK BlockIQ2_XXS {
  f16 d;
  struct LORA_BLOCK {
    uint8_t index[4];
    uint32_t signs_and_scale;
  } groups[8];
};
static_assert(sizeof(BlockIQ2_XXS) == 66);

struct LORA_BLOCK BlockIQ2_XS {
  f16 d;
  uint16_t qs[32];
  uint8_t scales[8];
};
static_assert(sizeof(BlockIQ2_XS) == 74);

struct LORA_BLOCK BlockIQ2_S {
  f16 d;
  uint8_t qs[32];
  uint8_t signs[32];
  uint8_t qh[8];
  uint8_t scales[8];
};
static_assert(sizeof(BlockIQ2_S) == 82);

// The signs of IQ2_XS, whose words hold them above nine bits of index, for a group.
LORA_INLINE uint32_t iq2_xs_signs(const uint16_t q[4]) {
  return even_signs(uint32_t(q[0] >> 9) | uint32_t(q[1] >> 9) << 7 | uint32_t(q[2] >> 9) << 14 |
                    uint32_t(q[3] >> 9) << 21);
}

// Of the l-th eight of a group.
LORA_INLINE uint32_t iq2_s_index(const BlockIQ2_S& block, int group, int l) {
  return block.qs[group * 4 + l] | (uint32_t(block.qh[group]) >> 2 * l & 3) << 8;
}

// As many values as a word has bytes: magnitudes and signs, a bit each.
template <class Word>
LORA_INLINE void decode_signed(float* __restrict values, const Word& magnitudes, uint32_t signs,
                               float scale) {
  uint8_t bytes[sizeof(Word)];
  std::memcpy(bytes, &magnitudes, sizeof bytes);
  for (size_t j = 0; j < sizeof(Word); ++j) {
    const float v = scale * float(bytes[j]);
    values[j] = signs >> j & 1 ? -v : v;
  }
}

LORA_INLINE float iq2_scale(float d, int scale) {
  return d * (0.5f + float(scale)) * 0.25f;
}

// Each decodes n values, a multiple of 256.
LORA_INLINE void decode_iq2_xxs(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, blocks += sizeof(BlockIQ2_XXS)) {
    const auto& block = block_at<BlockIQ2_XXS>(blocks);
    const float d = to_f32(block.d);
    for (const auto& group : block.groups) {
      const uint32_t word = group.signs_and_scale, signs = even_signs(word);
      const float scale = iq2_scale(d, int(word >> 28));
      for (int l = 0; l < 4; ++l, values += 8)
        decode_signed(values, iq2_xxs_grid[group.index[l]], signs >> 8 * l, scale);
    }
  }
}

LORA_INLINE void decode_iq2_xs(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, blocks += sizeof(BlockIQ2_XS)) {
    const auto& block = block_at<BlockIQ2_XS>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 8; ++group) {
      uint16_t q[4];
      std::memcpy(q, block.qs + group * 4, sizeof q);
      const uint32_t signs = iq2_xs_signs(q);
      for (int l = 0; l < 4; ++l, values += 8) {
        const float scale = iq2_scale(d, block.scales[group] >> l / 2 * 4 & 15);
        decode_signed(values, iq2_xs_grid[q[l] & 511], signs >> 8 * l, scale);
      }
    }
  }
}

LORA_INLINE void decode_iq2_s(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, blocks += sizeof(BlockIQ2_S)) {
    const auto& block = block_at<BlockIQ2_S>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 8; ++group) {
      for (int l = 0; l < 4; ++l, values += 8) {
        const float scale = iq2_scale(d, block.scales[group] >> l / 2 * 4 & 15);
        decode_signed(values, iq2_s_grid[iq2_s_index(block, group, l)], block.signs[group * 4 + l], scale);
      }
    }
  }
}

}  // namespace lora
