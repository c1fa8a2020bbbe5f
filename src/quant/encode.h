// What the encoders share: from values to the scales of a block.
//
// Search is compiled for each kernel set (search-inl.h); what stands here is plain arithmetic in a fixed
// order.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/half.h"
#include "quant/block.h"

namespace lora {

// Groups that a search looks at side by side.
inline constexpr int kSearchGroups = 16;

// Some groups of n values as a search wants them, value i of group g at [i * 16 + g], and the values'
// weights.
template <int n>
struct SearchInput {
  float x[n * kSearchGroups], w[n * kSearchGroups];
  bool weighted;  // else all w are 1
};

// Weighted sums over a group's values x and the integers q that stand for them.
template <class Number>
struct ScaleSums {
  Number xq, qq;
};
template <class Number>
struct RangeSums {
  Number w, x, q, qq, xq;
};

template <int n>
LORA_INLINE void lay_side_by_side(float* __restrict out, const float* __restrict values, int64_t n_groups) {
  if (n_groups == kSearchGroups) {
    for (int i = 0; i < n; ++i) {
      for (int g = 0; g < kSearchGroups; ++g) out[i * kSearchGroups + g] = values[g * n + i];
    }
  } else {
    for (int64_t g = 0; g < n_groups; ++g) {
      for (int i = 0; i < n; ++i) out[i * kSearchGroups + g] = values[g * n + i];
    }
  }
}

// Calls encode_some(input, n_groups, x) for up to 16 groups at a time, x being the first group's values.
template <int n, class EncodeSome>
LORA_INLINE void for_each_16_groups(const float* values, int64_t n_values, const float* importance,
                                    const EncodeSome& encode_some) {
  SearchInput<n> input = {};
  input.weighted = importance != nullptr;
  if (!importance) std::fill(std::begin(input.w), std::end(input.w), 1.0f);
  constexpr int64_t step = n * kSearchGroups;
  for (int64_t begin = 0; begin < n_values; begin += step) {
    const int64_t n_groups = std::min(step, n_values - begin) / n;
    lay_side_by_side<n>(input.x, values + begin, n_groups);
    if (importance) lay_side_by_side<n>(input.w, importance + begin, n_groups);
    encode_some(input, int(n_groups), values + begin);
  }
}

// A scale as it is stored: always finite.
inline f16 to_f16_scale(float scale) {
  return to_f16(std::clamp(scale, -65504.0f, 65504.0f));
}
inline float inverse_scale(float scale) {
  return std::fabs(scale) > 1e-30f ? 1 / scale : 0.0f;
}
inline int round_clamped(float v, int low, int high) {
  return int(std::nearbyint(std::clamp(v, float(low), float(high))));
}

// `count` numbers from..to, for the targets of a search.
template <int count>
constexpr std::array<float, count> steps(float from, float to) {
  std::array<float, count> result{};
  for (int i = 0; i < count; ++i) result[size_t(i)] = from + (to - from) * float(i) / float(count - 1);
  return result;
}

// How often the scales of a super-block are fitted again to the integers that its values were rounded to: a
// second time still takes 0.3% of the error, a third nearly nothing.
inline constexpr int kBlockFits = 2;

// Scales of super-blocks: value = d * scale_g * q, scale_g an integer in {lowest .. -lowest - 1}.
struct BlockScales {
  f16 d;
  int8_t scale[kSearchGroups];
};

// Of the 16 / per_block super-blocks of one input.
template <class Search, int n, int per_block, class Quantizer>
LORA_INLINE void fit_block_scales(BlockScales* blocks, const SearchInput<n>& input, const Quantizer& quantize,
                                  std::span<const float> targets, int lowest) {
  float scale[kSearchGroups];
  Search::scales(scale, input, quantize, targets, 1);
  for (int begin = 0; begin < kSearchGroups; begin += per_block) {
    BlockScales& block = blocks[begin / per_block];
    float largest = 0;
    for (int g = 0; g < per_block; ++g) {
      if (std::fabs(scale[begin + g]) > std::fabs(largest)) largest = scale[begin + g];
    }
    block.d = to_f16_scale(largest / float(lowest));
    const float inverse = inverse_scale(to_f32(block.d));
    for (int g = 0; g < per_block; ++g)
      block.scale[g] = int8_t(round_clamped(scale[begin + g] * inverse, lowest, -lowest - 1));
  }
  ScaleSums<float[kSearchGroups]> sums;
  for (int pass = 0; pass < kBlockFits; ++pass) {
    for (int g = 0; g < kSearchGroups; ++g) {
      const BlockScales& block = blocks[g / per_block];
      scale[g] = to_f32(block.d) * float(block.scale[g % per_block]);
    }
    Search::scale_sums(sums, scale, input, quantize);
    for (int begin = 0; begin < kSearchGroups; begin += per_block) {
      BlockScales& block = blocks[begin / per_block];
      float x = 0, q = 0;
      for (int g = 0; g < per_block; ++g) {
        const float s = block.scale[g];
        x += s * sums.xq[begin + g];
        q += s * s * sums.qq[begin + g];
      }
      if (!(q > 0)) continue;
      block.d = to_f16_scale(x / q);
      const float inverse = inverse_scale(to_f32(block.d));
      for (int g = 0; g < per_block; ++g) {
        if (sums.qq[begin + g] > 0)
          block.scale[g] =
              int8_t(round_clamped(sums.xq[begin + g] / sums.qq[begin + g] * inverse, lowest, -lowest - 1));
      }
    }
  }
}

// Q3_K and Q6_K: 16 groups of 16 values with a scale each. pack(block, scales, q) stores scales and integers,
// these less the lowest.
template <class Search, class Block, class Pack>
LORA_INLINE void encode_k_scales(std::byte* blocks, const float* values, int64_t n, const float* importance,
                                 typename Search::Integers range, std::span<const float> targets,
                                 int lowest_scale, const Pack& pack) {
  const auto encode_some = [&](const SearchInput<16>& input, int, const float* x) {
    BlockScales fit;
    fit_block_scales<Search, 16, 16>(&fit, input, range, targets, lowest_scale);
    uint8_t q[k_block_size];
    for (int group = 0; group < 16; ++group) {
      const float scale = to_f32(fit.d) * float(fit.scale[group]);
      Search::template integers<16>(q + group * 16, x + group * 16, scale, 0, range);
    }
    auto& block = block_at<Block>(blocks);
    block.d = fit.d;
    pack(block, fit.scale, q);
    blocks += sizeof(Block);
  };
  for_each_16_groups<16>(values, n, importance, encode_some);
}

// value = d * scale_g * q - dmin * minimum_g, both integers in {0 .. top}, q in {0 .. highest}.
struct BlockRanges {
  f16 d, dmin;
  uint8_t scale[kSearchGroups], minimum[kSearchGroups];
};

template <class Search, int n, int per_block>
LORA_INLINE void fit_block_ranges(BlockRanges* blocks, const SearchInput<n>& input, int highest,
                                  std::span<const float> targets, int top) {
  float scale[kSearchGroups], minimum[kSearchGroups];
  Search::ranges(scale, minimum, input, highest, true, targets, 1);
  for (int begin = 0; begin < kSearchGroups; begin += per_block) {
    BlockRanges& block = blocks[begin / per_block];
    block.d = to_f16_scale(*std::max_element(scale + begin, scale + begin + per_block) / float(top));
    block.dmin = to_f16_scale(*std::max_element(minimum + begin, minimum + begin + per_block) / float(top));
    const float per_scale = inverse_scale(to_f32(block.d)), per_minimum = inverse_scale(to_f32(block.dmin));
    for (int g = 0; g < per_block; ++g) {
      block.scale[g] = uint8_t(round_clamped(scale[begin + g] * per_scale, 0, top));
      block.minimum[g] = uint8_t(round_clamped(minimum[begin + g] * per_minimum, 0, top));
    }
  }
  RangeSums<float[kSearchGroups]> sums;
  for (int pass = 0; pass < kBlockFits; ++pass) {
    for (int g = 0; g < kSearchGroups; ++g) {
      const BlockRanges& block = blocks[g / per_block];
      scale[g] = to_f32(block.d) * float(block.scale[g % per_block]);
      minimum[g] = to_f32(block.dmin) * float(block.minimum[g % per_block]);
    }
    Search::range_sums(sums, scale, minimum, input, highest);
    for (int begin = 0; begin < kSearchGroups; begin += per_block) {
      BlockRanges& block = blocks[begin / per_block];
      // Least squares of x = d (scale q) - dmin minimum.
      float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
      for (int g = 0; g < per_block; ++g) {
        const float s = block.scale[g], m = -float(block.minimum[g]);
        aa += s * s * sums.qq[begin + g];
        ab += s * m * sums.q[begin + g];
        bb += m * m * sums.w[begin + g];
        xa += s * sums.xq[begin + g];
        xb += m * sums.x[begin + g];
      }
      const float determinant = aa * bb - ab * ab;
      float d = 0, dmin = 0;
      if (bb == 0 && aa > 0) {
        d = xa / aa;
      } else if (determinant > 1e-6f * aa * bb) {
        d = (xa * bb - xb * ab) / determinant;
        dmin = (xb * aa - xa * ab) / determinant;
      }
      if (!(d > 0) || dmin < 0) continue;
      block.d = to_f16_scale(d);
      block.dmin = to_f16_scale(dmin);
      d = to_f32(block.d), dmin = to_f32(block.dmin);
      const float per_scale = inverse_scale(d), per_minimum = inverse_scale(dmin);
      for (int g = 0; g < per_block; ++g) {
        const float w = sums.w[begin + g], x = sums.x[begin + g], q = sums.q[begin + g],
                    qq = sums.qq[begin + g], xq = sums.xq[begin + g];
        const float det = w * qq - q * q;
        if (!(det > 0)) continue;
        const int s = round_clamped((w * xq - x * q) / det * per_scale, 0, top);
        block.scale[g] = uint8_t(s);
        block.minimum[g] = uint8_t(round_clamped((d * float(s) * q - x) / w * per_minimum, 0, top));
      }
    }
  }
}

}  // namespace lora
