// Q5_K: 256 values of 5 bits; 8 groups of 32 values, each with a 6-bit scale and minimum.
//
//   176 bytes: f16 d, f16 dmin, u8 scales[12] (k_scales.h), u8 qh[32], u8 qs[128]
//
// value = (d * scale) * q - dmin * minimum
// The low four bits of q lie in qs as in Q4_K; bit g of qh[l] is the fifth bit of value l of group g.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/block.h"
#include "quant/encode.h"
#include "quant/k_scales.h"

namespace lora {

struct LORA_BLOCK BlockQ5_K {
  f16 d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

// Decodes n values, a multiple of 256.
LORA_INLINE void decode_q5_k(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockQ5_K)) {
    const auto& block = block_at<BlockQ5_K>(blocks);
    const float d = to_f32(block.d), dmin = to_f32(block.dmin);
    const KScales k = unpack_k_scales(block.scales);
    for (int group = 0; group < 8; ++group) {
      const uint8_t* q = block.qs + group / 2 * 32;
      const int shift = group % 2 * 4;
      const float scale = d * float(k.scales[group]), minimum = dmin * float(k.minimums[group]);
      float* y = values + group * 32;
      for (int l = 0; l < 32; ++l) {
        y[l] = scale * float((q[l] >> shift & 15) | (block.qh[l] >> group & 1) << 4) - minimum;
      }
    }
  }
}

inline constexpr auto q5_k_targets = steps<21>(30.0f, 32.0f);

// Encodes n values, a multiple of 256.
template <class Search>
LORA_INLINE void encode_q5_k(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float* importance) {
  const auto pack = [](BlockQ5_K& block, const uint8_t* q) {
    for (int l = 0; l < 32; ++l) {
      int high = 0;
      for (int group = 0; group < 8; ++group) high |= q[group * 32 + l] >> 4 << group;
      block.qh[l] = uint8_t(high);
    }
    for (int p = 0; p < 4; ++p) {
      for (int l = 0; l < 32; ++l)
        block.qs[p * 32 + l] = uint8_t((q[p * 64 + l] & 15) | q[p * 64 + 32 + l] << 4);
    }
  };
  encode_k_ranges<Search, BlockQ5_K>(blocks, values, n, importance, 31, q5_k_targets, pack);
}

}  // namespace lora
