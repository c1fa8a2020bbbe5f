// IQ4_NL and IQ4_XS: 4-bit indices into 16 fixed, unevenly spaced values.
//
//   IQ4_NL, 32 values, 18 bytes: f16 d, u8 qs[16]
//     value = d * iq4_values[q]
//   IQ4_XS, 256 values, 136 bytes: f16 d, u16 scales_h, u8 scales_l[4], u8 qs[128]
//     value = (d * (scale - 32)) * iq4_values[q], a 6-bit scale per group g of 32 values: its low
//     four bits are nibble g of scales_l (low nibble first), its upper two bits 2g.. of scales_h
//
// In each run of 16 bytes of qs, the low nibble of byte j is value j, the high one value j + 16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/block.h"
#include "quant/encode.h"

namespace lora {

inline constexpr int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

struct LORA_BLOCK BlockIQ4_NL {
  f16 d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18);

struct LORA_BLOCK BlockIQ4_XS {
  f16 d;
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};
static_assert(sizeof(BlockIQ4_XS) == 136);

LORA_INLINE void decode_iq4_group(float* values, const uint8_t qs[16], float scale) {
  for (int j = 0; j < 16; ++j) values[j] = scale * float(iq4_values[qs[j] & 15]);
  for (int j = 0; j < 16; ++j) values[j + 16] = scale * float(iq4_values[qs[j] >> 4]);
}

// Decode n values, a multiple of 32 and of 256.
LORA_INLINE void decode_iq4_nl(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockIQ4_NL)) {
    const auto& block = block_at<BlockIQ4_NL>(blocks);
    decode_iq4_group(values, block.qs, to_f32(block.d));
  }
}

LORA_INLINE void decode_iq4_xs(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockIQ4_XS)) {
    const auto& block = block_at<BlockIQ4_XS>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 8; ++group) {
      const int low = block.scales_l[group / 2] >> group % 2 * 4 & 15;
      const int high = block.scales_h >> group * 2 & 3;
      decode_iq4_group(values + group * 32, block.qs + group * 16, d * float((low | high << 4) - 32));
    }
  }
}

// The index of the nearest level for each of 32 values.
LORA_INLINE void pack_iq4_group(uint8_t qs[16], const float* values, float scale) {
  const float inverse = inverse_scale(scale);
  uint8_t q[32];
  for (int j = 0; j < 32; ++j) {
    const float v = values[j] * inverse;
    int index = 0;
    for (int k = 1; k < 16; ++k) index += v > float(iq4_values[k - 1] + iq4_values[k]) * 0.5f;
    q[j] = uint8_t(index);
  }
  for (int j = 0; j < 16; ++j) qs[j] = uint8_t(q[j] | q[j + 16] << 4);
}

inline constexpr auto iq4_targets = steps<15>(-134.0f, -120.0f);

// Encode n values, a multiple of 32 and of 256.
template <class Search>
LORA_INLINE void encode_iq4_nl(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                               const float* importance) {
  const auto encode_some = [&](const SearchInput<32>& input, int n_groups, const float* x) {
    float scale[kSearchGroups];
    Search::scales(scale, input, typename Search::template Levels<16>{iq4_values}, iq4_targets, 1);
    for (int g = 0; g < n_groups; ++g, blocks += sizeof(BlockIQ4_NL)) {
      auto& block = block_at<BlockIQ4_NL>(blocks);
      block.d = to_f16_scale(scale[g]);
      pack_iq4_group(block.qs, x + g * 32, to_f32(block.d));
    }
  };
  for_each_16_groups<32>(values, n, importance, encode_some);
}

template <class Search>
LORA_INLINE void encode_iq4_xs(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                               const float* importance) {
  const auto encode_some = [&](const SearchInput<32>& input, int n_groups, const float* x) {
    BlockScales fits[2];
    fit_block_scales<Search, 32, 8>(fits, input, typename Search::template Levels<16>{iq4_values},
                                    iq4_targets, -32);
    for (int b = 0; b < n_groups / 8; ++b, blocks += sizeof(BlockIQ4_XS)) {
      auto& block = block_at<BlockIQ4_XS>(blocks);
      block = {};
      block.d = fits[b].d;
      const float d = to_f32(fits[b].d);
      for (int group = 0; group < 8; ++group) {
        const int scale = fits[b].scale[group] + 32;
        block.scales_l[group / 2] |= uint8_t((scale & 15) << group % 2 * 4);
        block.scales_h = uint16_t(block.scales_h | scale >> 4 << group * 2);
        pack_iq4_group(block.qs + group * 16, x + b * k_block_size + group * 32,
                       d * float(fits[b].scale[group]));
      }
    }
  };
  for_each_16_groups<32>(values, n, importance, encode_some);
}

}  // namespace lora
