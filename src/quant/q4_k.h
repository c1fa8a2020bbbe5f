// Q4_K: 256 values of 4 bits; 8 groups of 32 values, each with a 6-bit scale and minimum.
//
//   144 bytes: f16 d, f16 dmin, u8 scales[12] (k_scales.h), u8 qs[128]
//
// value = (d * scale) * q - dmin * minimum
// Groups 2p and 2p + 1 share 32 bytes of qs: byte 32 p + l holds value l of the first in its low
// nibble and value l of the second in its high nibble.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/block.h"
#include "quant/encode.h"
#include "quant/k_scales.h"

namespace lora {

struct LORA_BLOCK BlockQ4_K {
  f16 d, dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

// Decodes n values, a multiple of 256.
LORA_INLINE void decode_q4_k(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockQ4_K)) {
    const auto& block = block_at<BlockQ4_K>(blocks);
    const float d = to_f32(block.d), dmin = to_f32(block.dmin);
    const KScales k = unpack_k_scales(block.scales);
    for (int group = 0; group < 8; ++group) {
      const uint8_t* q = block.qs + group / 2 * 32;
      const int shift = group % 2 * 4;
      const float scale = d * float(k.scales[group]), minimum = dmin * float(k.minimums[group]);
      float* y = values + group * 32;
      for (int l = 0; l < 32; ++l) y[l] = scale * float(q[l] >> shift & 15) - minimum;
    }
  }
}

inline constexpr auto q4_k_targets = steps<21>(14.0f, 16.0f);

// Encodes n values, a multiple of 256.
template <class Search>
LORA_INLINE void encode_q4_k(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float* importance) {
  const auto pack = [](BlockQ4_K& block, const uint8_t* q) {
    for (int p = 0; p < 4; ++p) {
      for (int l = 0; l < 32; ++l) block.qs[p * 32 + l] = uint8_t(q[p * 64 + l] | q[p * 64 + 32 + l] << 4);
    }
  };
  encode_k_ranges<Search, BlockQ4_K>(blocks, values, n, importance, 15, q4_k_targets, pack);
}

}  // namespace lora
