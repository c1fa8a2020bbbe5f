// Q2_K: 256 values of 2 bits; 16 groups of 16 values, each with a 4-bit scale and minimum.
//
//   84 bytes: u8 scales[16], u8 qs[64], f16 d, f16 dmin
//
// scales[g]: low nibble the scale of group g, high nibble its minimum.
// value = (d * scale) * q - dmin * minimum
// Each half of 128 values takes 32 bytes of qs: bits 2s..2s+1 of byte l (0 <= l < 32, 0 <= s < 4)
// hold value 32 s + l of the half.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/block.h"
#include "quant/encode.h"

namespace lora {

struct LORA_BLOCK BlockQ2_K {
  uint8_t scales[16];
  uint8_t qs[64];
  f16 d, dmin;
};
static_assert(sizeof(BlockQ2_K) == 84);

// Decodes n values, a multiple of 256.
LORA_INLINE void decode_q2_k(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockQ2_K)) {
    const auto& block = block_at<BlockQ2_K>(blocks);
    const float d = to_f32(block.d), dmin = to_f32(block.dmin);
    for (int group = 0; group < 16; ++group) {
      const int half = group / 8, shift = group % 8 / 2 * 2;
      const uint8_t* q = block.qs + half * 32 + group % 2 * 16;
      const float scale = d * float(block.scales[group] & 15);
      const float minimum = dmin * float(block.scales[group] >> 4);
      float* y = values + group * 16;
      for (int l = 0; l < 16; ++l) y[l] = scale * float(q[l] >> shift & 3) - minimum;
    }
  }
}

inline constexpr auto q2_k_targets = steps<16>(2.5f, 4.0f);

// Encodes n values, a multiple of 256.
template <class Search>
LORA_INLINE void encode_q2_k(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float* importance) {
  const auto encode_some = [&](const SearchInput<16>& input, int, const float* x) {
    BlockRanges fit;
    fit_block_ranges<Search, 16, 16>(&fit, input, 3, q2_k_targets, 15);
    auto& block = block_at<BlockQ2_K>(blocks);
    block.d = fit.d;
    block.dmin = fit.dmin;
    uint8_t q[k_block_size];
    for (int group = 0; group < 16; ++group) {
      block.scales[group] = uint8_t(fit.scale[group] | fit.minimum[group] << 4);
      const float scale = to_f32(fit.d) * float(fit.scale[group]);
      const float minimum = to_f32(fit.dmin) * float(fit.minimum[group]);
      Search::template integers<16>(q + group * 16, x + group * 16, scale, minimum, {0, 3});
    }
    for (int half = 0; half < 2; ++half) {
      const uint8_t* v = q + half * 128;
      for (int l = 0; l < 32; ++l)
        block.qs[half * 32 + l] = uint8_t(v[l] | v[l + 32] << 2 | v[l + 64] << 4 | v[l + 96] << 6);
    }
    blocks += sizeof(BlockQ2_K);
  };
  for_each_16_groups<16>(values, n, importance, encode_some);
}

}  // namespace lora
