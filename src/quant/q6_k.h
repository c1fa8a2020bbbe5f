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
#include "quant/block.h"
#include "quant/encode.h"

namespace lora {

struct LORA_BLOCK BlockQ6_K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  f16 d;
};
static_assert(sizeof(BlockQ6_K) == 210);

// Decodes n values, a multiple of 256.
LORA_INLINE void decode_q6_k(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockQ6_K)) {
    const auto& block = block_at<BlockQ6_K>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 16; ++group) {
      const int half = group / 8, s = group % 8 / 2, l0 = group % 2 * 16;
      const uint8_t* ql = block.ql + half * 64 + s % 2 * 32 + l0;
      const uint8_t* qh = block.qh + half * 32 + l0;
      const int low_shift = s / 2 * 4, high_shift = s * 2;
      const float scale = d * float(block.scales[group]);
      float* y = values + group * 16;
      for (int l = 0; l < 16; ++l) {
        y[l] = scale * float(((ql[l] >> low_shift & 15) | (qh[l] >> high_shift & 3) << 4) - 32);
      }
    }
  }
}

inline constexpr auto q6_k_targets = steps<19>(-32.9f, -31.1f);

// Encodes n values, a multiple of 256.
template <class Search>
LORA_INLINE void encode_q6_k(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float* importance) {
  const auto pack = [](BlockQ6_K& block, const int8_t* scales, const uint8_t* q) {
    for (int group = 0; group < 16; ++group) block.scales[group] = scales[group];
    for (int half = 0; half < 2; ++half) {
      const uint8_t* v = q + half * 128;
      for (int l = 0; l < 64; ++l) block.ql[half * 64 + l] = uint8_t((v[l] & 15) | v[l + 64] << 4);
      for (int l = 0; l < 32; ++l) {
        block.qh[half * 32 + l] =
            uint8_t(v[l] >> 4 | v[l + 32] >> 4 << 2 | v[l + 64] >> 4 << 4 | v[l + 96] >> 4 << 6);
      }
    }
  };
  encode_k_scales<Search, BlockQ6_K>(blocks, values, n, importance, {-32, 31}, q6_k_targets, -128, pack);
}

}  // namespace lora
