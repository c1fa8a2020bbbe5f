// The 6-bit scales and minimums of Q4_K and Q5_K: eight of each in 12 bytes.
//
// For j < 4, packed[j] holds scale j in its low six bits and packed[j + 4] minimum j. For j >= 4,
// packed[j + 4] holds the low four bits of scale j (low nibble) and of minimum j (high nibble),
// and their upper two bits are the top bits of packed[j - 4] and packed[j].
#pragma once

#include <cstdint>

#include "quant/encode.h"

namespace lora {

struct KScales {
  uint8_t scales[8], minimums[8];
};

inline KScales unpack_k_scales(const uint8_t packed[12]) {
  KScales k;
  for (int j = 0; j < 4; ++j) {
    k.scales[j] = packed[j] & 63;
    k.minimums[j] = packed[j + 4] & 63;
    k.scales[j + 4] = uint8_t((packed[j + 8] & 15) | packed[j] >> 6 << 4);
    k.minimums[j + 4] = uint8_t(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
  }
  return k;
}

inline void pack_k_scales(uint8_t packed[12], const uint8_t scales[8], const uint8_t minimums[8]) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = uint8_t(scales[j] | scales[j + 4] >> 4 << 6);
    packed[j + 4] = uint8_t(minimums[j] | minimums[j + 4] >> 4 << 6);
    packed[j + 8] = uint8_t((scales[j + 4] & 15) | minimums[j + 4] << 4);
  }
}

// Q4_K and Q5_K: eight groups of 32 values with a scale and a minimum each. pack(block, q) stores the
// integers.
template <class Search, class Block, class Pack>
LORA_INLINE void encode_k_ranges(std::byte* blocks, const float* values, int64_t n, const float* importance,
                                 int highest, std::span<const float> targets, const Pack& pack) {
  const auto encode_some = [&](const SearchInput<32>& input, int n_groups, const float* x) {
    BlockRanges fits[2];
    fit_block_ranges<Search, 32, 8>(fits, input, highest, targets, 63);
    for (int b = 0; b < n_groups / 8; ++b, x += k_block_size, blocks += sizeof(Block)) {
      const BlockRanges& fit = fits[b];
      uint8_t q[k_block_size];
      for (int group = 0; group < 8; ++group) {
        const float scale = to_f32(fit.d) * float(fit.scale[group]);
        const float minimum = to_f32(fit.dmin) * float(fit.minimum[group]);
        Search::template integers<32>(q + group * 32, x + group * 32, scale, minimum, {0, highest});
      }
      auto& block = block_at<Block>(blocks);
      block.d = fit.d;
      block.dmin = fit.dmin;
      pack_k_scales(block.scales, fit.scale, fit.minimum);
      pack(block, q);
    }
  };
  for_each_16_groups<32>(values, n, importance, encode_some);
}

}  // namespace lora
