// IQ1_S and IQ1_M: 256 values, of which each eight are -1, 0 or 1 as a book says (iq_grids.h), moved up or
// down by an eighth.
//
//   IQ1_S, 50 bytes: f16 d, u8 qs[32], u16 qh[8]
//     a word of qh per group of 32: bits 3 l .. are the upper three of the l-th eight's index, bits 12 to 14
//     the scale, bit 15 is set where the group is moved down
//   IQ1_M, 56 bytes: u8 qs[32], u8 qh[16], u16 scales[4]
//     a nibble of qh per eight, the first in the low one: the upper three bits of the index, and bit 3 set
//     where they are moved down; a scale for each 16 values in bits 3 i .. of the word that has four of them;
//     d is an f16 of the words' upper four bits, the first word's the lowest
//
// value = d * (2 scale + 1) * (number -+ 1/8), computed here as eighths of the scale times integers: both are
// exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "quant/block.h"
#include "quant/iq_grids.h"

namespace lora {

struct LORA_BLOCK BlockIQ1_S {
  f16 d;
  uint8_t qs[32];
  uint16_t qh[8];
};
static_assert(sizeof(BlockIQ1_S) == 50);

struct LORA_BLOCK BlockIQ1_M {
  uint8_t qs[32];
  uint8_t qh[16];
  uint16_t scales[4];
};
static_assert(sizeof(BlockIQ1_M) == 56);

LORA_INLINE uint32_t iq1_s_index(const BlockIQ1_S& block, int group, int l) {
  return block.qs[group * 4 + l] | (uint32_t(block.qh[group]) >> 3 * l & 7) << 8;
}

// Of the i-th eight of the block.
LORA_INLINE uint32_t iq1_m_nibble(const BlockIQ1_M& block, int i) {
  return uint32_t(block.qh[i / 2]) >> i % 2 * 4 & 15;
}
LORA_INLINE uint32_t iq1_m_index(const BlockIQ1_M& block, int i) {
  return block.qs[i] | (iq1_m_nibble(block, i) & 7) << 8;
}
LORA_INLINE f16 iq1_m_d(const BlockIQ1_M& block) {
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) bits |= uint32_t(block.scales[i] >> 12) << 4 * i;
  return {uint16_t(bits)};
}

LORA_INLINE void decode_iq1_eight(float* __restrict values, uint64_t numbers, bool down, float scale) {
  int8_t bytes[8];
  std::memcpy(bytes, &numbers, sizeof bytes);
  for (int j = 0; j < 8; ++j) values[j] = scale * float(bytes[j] + (down ? -1 : 1));
}

// Each decodes n values, a multiple of 256.
LORA_INLINE void decode_iq1_s(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, blocks += sizeof(BlockIQ1_S)) {
    const auto& block = block_at<BlockIQ1_S>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 8; ++group) {
      const int qh = block.qh[group];
      const float scale = d * float(2 * (qh >> 12 & 7) + 1) * 0.125f;
      for (int l = 0; l < 4; ++l, values += 8)
        decode_iq1_eight(values, iq1_grid[iq1_s_index(block, group, l)], qh & 0x8000, scale);
    }
  }
}

LORA_INLINE void decode_iq1_m(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, blocks += sizeof(BlockIQ1_M)) {
    const auto& block = block_at<BlockIQ1_M>(blocks);
    const float d = to_f32(iq1_m_d(block));
    for (int i = 0; i < 32; ++i, values += 8) {
      const float scale = d * float(2 * (block.scales[i / 8] >> i % 8 / 2 * 3 & 7) + 1) * 0.125f;
      decode_iq1_eight(values, iq1_grid[iq1_m_index(block, i)], iq1_m_nibble(block, i) & 8, scale);
    }
  }
}

}  // namespace lora
