// MXFP4 and NVFP4: floats of 4 bits (a sign, two bits of exponent, one of fraction) with a float of 8 bits as
// scale.
//
//   MXFP4, 32 values, 17 bytes: u8 e, u8 qs[16]
//     value = 2^(e - 128) * fp4_values[q]
//     The low nibble of byte j of qs is value j, the high one value j + 16.
//   NVFP4, 64 values, 36 bytes: u8 d[4], u8 qs[32]
//     value = d_g / 2 * fp4_values[q], a scale for each group g of 16 values: four bits of exponent, of which
//     7 is 1, above three of fraction; bit 7 counts for nothing, and where all others are set d_g is 0.
//     Group g takes bytes 8 g .. of qs: the low nibble of byte j is its value j, the high one value j + 8.
//
// fp4_values are twice what the four bits mean, so that they are integers.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "quant/block.h"
#include "quant/encode.h"

namespace lora {

inline constexpr int8_t fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct LORA_BLOCK BlockMXFP4 {
  uint8_t e;
  uint8_t qs[16];
};
static_assert(sizeof(BlockMXFP4) == 17);

struct LORA_BLOCK BlockNVFP4 {
  uint8_t d[4];
  uint8_t qs[32];
};
static_assert(sizeof(BlockNVFP4) == 36);

// 2^(e - 128). The first two are denormal.
LORA_INLINE float mxfp4_scale(uint8_t e) {
  return std::bit_cast<float>(e < 2 ? uint32_t{0x00200000} << e : uint32_t(e - 1) << 23);
}

// As bits of a float, but where the exponent is 0: there the fraction is not added to 1.
LORA_INLINE float nvfp4_scale(uint8_t d) {
  const uint32_t bits = uint32_t(d & 0x7f) << 20;
  if ((d & 0x7f) == 0x7f && d != 0xff) return 0;
  constexpr uint32_t bias = 127 - 7 - 1;
  if (bits >> 23 == 0) return std::bit_cast<float>(bits + ((bias + 1) << 23)) - 0x1p-7f;
  return std::bit_cast<float>(bits + (bias << 23));
}

// Decode n values, a multiple of 32 and of 64.
LORA_INLINE void decode_mxfp4(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockMXFP4)) {
    const auto& block = block_at<BlockMXFP4>(blocks);
    const float scale = mxfp4_scale(block.e);
    for (int j = 0; j < 16; ++j) values[j] = scale * float(fp4_values[block.qs[j] & 15]);
    for (int j = 0; j < 16; ++j) values[j + 16] = scale * float(fp4_values[block.qs[j] >> 4]);
  }
}

LORA_INLINE void decode_nvfp4(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= 64, values += 64, blocks += sizeof(BlockNVFP4)) {
    const auto& block = block_at<BlockNVFP4>(blocks);
    for (int group = 0; group < 4; ++group) {
      const float scale = nvfp4_scale(block.d[group]);
      const uint8_t* qs = block.qs + group * 8;
      float* y = values + group * 16;
      for (int j = 0; j < 8; ++j) y[j] = scale * float(fp4_values[qs[j] & 15]);
      for (int j = 0; j < 8; ++j) y[j + 8] = scale * float(fp4_values[qs[j] >> 4]);
    }
  }
}

inline constexpr int8_t fp4_levels[15] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};

// The nearest of fp4_values for each of 32 values of at most 2^24.
LORA_INLINE void pack_fp4_group(uint8_t qs[16], const float* values, float inverse_scale) {
  uint8_t q[32];
  for (int j = 0; j < 32; ++j) {
    const float v = values[j] * inverse_scale, magnitude = std::fabs(v);
    int code = 0;
    for (int k = 1; k < 8; ++k) code += magnitude > float(fp4_values[k - 1] + fp4_values[k]) * 0.5f;
    q[j] = uint8_t(v < 0 && code > 0 ? code | 8 : code);
  }
  for (int j = 0; j < 16; ++j) qs[j] = uint8_t(q[j] | q[j + 16] << 4);
}

// With it the largest of 32 values is 8 to 16 times the scale. Above 252, 12 times the scale is infinite.
LORA_INLINE int mxfp4_exponent(const float* values) {
  uint32_t largest = 0;  // as bits: they order as magnitudes do
  for (int j = 0; j < 32; ++j) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[j]) & 0x7fffffffu;
    largest = bits > largest ? bits : largest;
  }
  return std::clamp(int(largest >> 23) - 2, 0, 252);
}

// Encodes n values, a multiple of 32. Scales are powers of two: of three the one that leaves the least error.
// What is in MXFP4 already is kept: with the exponent tried first all its values are exact.
template <class Search>
LORA_INLINE void encode_mxfp4(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                              const float* importance) {
  constexpr int64_t kAtOnce = 32 * kSearchGroups;
  constexpr float kTried[] = {1, 2, 0.5f};
  for (; n > 0; n -= kAtOnce, values += kAtOnce) {
    const int64_t n_values = std::min(n, kAtOnce);
    // Times a power of two that makes the largest 8 to 16, in two steps: one factor may be too large.
    float scaled[kAtOnce];
    int exponent[kSearchGroups];
    for (int64_t g = 0; g < n_values / 32; ++g) {
      exponent[g] = mxfp4_exponent(values + g * 32);
      const int half = (128 - exponent[g]) / 2;
      const float once = std::bit_cast<float>(uint32_t(127 + half) << 23);
      const float again = std::bit_cast<float>(uint32_t(127 + 128 - exponent[g] - half) << 23);
      for (int j = 0; j < 32; ++j) scaled[g * 32 + j] = values[g * 32 + j] * once * again;
    }
    const auto encode_some = [&](const SearchInput<32>& input, int n_groups, const float* x) {
      float best[kSearchGroups], best_gain[kSearchGroups];
      ScaleSums<float[kSearchGroups]> sums;
      for (const float tried : kTried) {
        float scale[kSearchGroups];
        for (float& s : scale) s = tried;
        Search::scale_sums(sums, scale, input, typename Search::template Levels<15>{fp4_levels});
        for (int g = 0; g < n_groups; ++g) {
          const float gain = tried * (2 * sums.xq[g] - tried * sums.qq[g]);
          const int e = exponent[g] + (tried > 1 ? 1 : tried < 1 ? -1 : 0);
          if (tried != kTried[0] && (gain <= best_gain[g] || e < 0 || e > 252)) continue;
          best[g] = tried, best_gain[g] = gain;
        }
      }
      for (int g = 0; g < n_groups; ++g, blocks += sizeof(BlockMXFP4)) {
        auto& block = block_at<BlockMXFP4>(blocks);
        block.e = uint8_t(exponent[g] + (best[g] > 1 ? 1 : best[g] < 1 ? -1 : 0));
        pack_fp4_group(block.qs, x + g * 32, 1 / best[g]);
      }
    };
    for_each_16_groups<32>(scaled, n_values, importance, encode_some);
    if (importance) importance += n_values;
  }
}

}  // namespace lora
