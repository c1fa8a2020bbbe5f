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
#include "quant/block.h"
#include "quant/encode.h"

namespace lora {

struct LORA_BLOCK BlockQ3_K {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  f16 d;
};
static_assert(sizeof(BlockQ3_K) == 110);

LORA_INLINE int q3_k_scale(const uint8_t scales[12], int group) {
  const int low = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
  const int high = scales[8 + group % 4] >> group / 4 * 2 & 3;
  return (low | high << 4) - 32;
}

// Decodes n values, a multiple of 256.
LORA_INLINE void decode_q3_k(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockQ3_K)) {
    const auto& block = block_at<BlockQ3_K>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 16; ++group) {
      const int half = group / 8, shift = group % 8 / 2 * 2, high_bit = group / 2;
      const uint8_t* q = block.qs + half * 32 + group % 2 * 16;
      const uint8_t* h = block.hmask + group % 2 * 16;
      const float scale = d * float(q3_k_scale(block.scales, group));
      float* y = values + group * 16;
      for (int l = 0; l < 16; ++l) {
        y[l] = scale * float(((q[l] >> shift & 3) | (h[l] >> high_bit & 1) << 2) - 4);
      }
    }
  }
}

LORA_INLINE void pack_q3_k_scales(uint8_t packed[12], const int8_t scales[16]) {
  for (int j = 0; j < 12; ++j) packed[j] = 0;
  for (int group = 0; group < 16; ++group) {
    const int scale = scales[group] + 32;
    packed[group % 8] |= uint8_t((scale & 15) << group / 8 * 4);
    packed[8 + group % 4] |= uint8_t(scale >> 4 << group / 4 * 2);
  }
}

inline constexpr auto q3_k_targets = steps<19>(-4.9f, -3.1f);

// Encodes n values, a multiple of 256.
template <class Search>
LORA_INLINE void encode_q3_k(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float* importance) {
  const auto pack = [](BlockQ3_K& block, const int8_t* scales, const uint8_t* q) {
    pack_q3_k_scales(block.scales, scales);
    for (int l = 0; l < 32; ++l) {
      int high = 0;
      for (int s = 0; s < 8; ++s) high |= q[s * 32 + l] >> 2 << s;
      block.hmask[l] = uint8_t(high);
    }
    for (int half = 0; half < 2; ++half) {
      const uint8_t* v = q + half * 128;
      for (int l = 0; l < 32; ++l) {
        block.qs[half * 32 + l] =
            uint8_t((v[l] & 3) | (v[l + 32] & 3) << 2 | (v[l + 64] & 3) << 4 | (v[l + 96] & 3) << 6);
      }
    }
  };
  encode_k_scales<Search, BlockQ3_K>(blocks, values, n, importance, {-4, 3}, q3_k_targets, -32, pack);
}

}  // namespace lora
