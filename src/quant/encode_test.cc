// Every encoder: its error beside that of llama.cpp's quantizer on the same numbers, and what holds for any
// numbers.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "quant/fp4.h"
#include "quant/golden_blocks.h"
#include "quant/k_scales.h"
#include "quant/q3_k.h"
#include "quant/types.h"

namespace lora {
namespace encode_test {

using Values = std::vector<float>;
using Bytes = std::vector<std::byte>;

Bytes encoded(const TypeTraits& type, const Values& values, const float* importance = nullptr) {
  Bytes blocks(values.size() / size_t(type.block_size) * size_t(type.block_bytes));
  type.encode(blocks.data(), values.data(), int64_t(values.size()), importance);
  return blocks;
}

Values decoded(const TypeTraits& type, const Bytes& blocks) {
  Values values(blocks.size() / size_t(type.block_bytes) * size_t(type.block_size));
  type.decode(values.data(), blocks.data(), int64_t(values.size()));
  return values;
}

// Root of sum w (a - b)^2 / sum w b^2.
double relative_error(const Values& a, const Values& b, const float* w = nullptr) {
  double error = 0, square = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double weight = w ? w[i] : 1.0, difference = double(a[i]) - double(b[i]);
    error += weight * difference * difference;
    square += weight * double(b[i]) * double(b[i]);
  }
  return std::sqrt(error / square);
}

// Real weights, to within the 11 bits of F16.
const Values& weights() {
  static const Values values = read_golden_blocks("F16").values;
  return values;
}

class Encode : public testing::TestWithParam<TypeTraits> {};

// The golden files hold rows of a model, as llama.cpp quantized and decoded them.
TEST_P(Encode, ErrorIsAtMostThatOfLlamaCpp) {
  const TypeTraits& type = GetParam();
  const GoldenBlocks golden = read_golden_blocks(type.name);
  const Values& original = golden.original.empty() ? weights() : golden.original;
  const double theirs = relative_error(golden.values, original);
  const double ours = relative_error(decoded(type, encoded(type, original)), original);
  RecordProperty("relative_error", fmt::format("{:.6f}, llama.cpp {:.6f}", ours, theirs));
  EXPECT_GT(theirs, 0);
  EXPECT_LE(ours, theirs * (1 + 1e-9));
}

TEST_P(Encode, ImportantColumnsGetLessError) {
  const TypeTraits& type = GetParam();
  if (type.type == Type::Q8_0 || type.block_size == 1) return;  // as near as can be anyway
  Values importance(weights().size());
  for (size_t i = 0; i < importance.size(); ++i) importance[i] = i % 7 == 0 ? 30.0f : 0.1f;
  const Values plain = decoded(type, encoded(type, weights()));
  const Values weighted = decoded(type, encoded(type, weights(), importance.data()));
  // Three levels and one scale for 256 values leave little to choose.
  const double factor = type.type == Type::TQ1_0 || type.type == Type::TQ2_0 ? 0.99 : 0.97;
  EXPECT_LT(relative_error(weighted, weights(), importance.data()),
            factor * relative_error(plain, weights(), importance.data()));
}

TEST_P(Encode, EqualWeightsAreNoWeights) {
  const TypeTraits& type = GetParam();
  const Values ones(weights().size(), 1.0f);
  EXPECT_EQ(encoded(type, weights(), ones.data()), encoded(type, weights()));
}

TEST_P(Encode, WhatWasDecodedStaysAsItIs) {
  const TypeTraits& type = GetParam();
  const Bytes blocks = encoded(type, weights());
  const Values values = decoded(type, blocks);
  const Values again = decoded(type, encoded(type, values));
  const bool one_scale = type.block_size <= 32;
  if (one_scale) {
    EXPECT_LE(relative_error(again, values), type.type == Type::Q4_1 || type.type == Type::Q5_1 ? 1e-3 : 0);
  } else {  // another super-block scale may fit as well
    EXPECT_LT(relative_error(again, values), 0.35 * relative_error(values, weights()));
  }
  if (type.type == Type::Q8_0 || type.block_size == 1) {
    EXPECT_EQ(encoded(type, values), blocks);
  }
}

TEST_P(Encode, DegenerateBlocksAreFiniteAndRight) {
  const TypeTraits& type = GetParam();
  for (const float value : {0.0f, -0.0f, 1.0f, -0.37f, 0.01f}) {
    const Values same(512, value);
    const Values got = decoded(type, encoded(type, same));
    const double precision = type.type == Type::MXFP4 ? 0.2 : 0.02;  // its scales are powers of two
    for (const float v : got) ASSERT_NEAR(v, value, precision * std::fabs(value) + 3e-8) << type.name;
  }
  for (const float magnitude : {1e-38f, 1e-12f, 1e9f, 3e38f}) {
    if (type.type == Type::F16 && magnitude > 1) continue;  // infinity is what F16 has there
    Values values(512);
    for (size_t i = 0; i < values.size(); ++i) values[i] = magnitude * (float(i * 37 % 101) / 50 - 1);
    for (const float v : decoded(type, encoded(type, values))) ASSERT_TRUE(std::isfinite(v)) << type.name;
  }
}

TEST_P(Encode, OneLargeValueAmongSmallOnesIsKept) {
  const TypeTraits& type = GetParam();
  for (const float outlier : {5.0f, -5.0f}) {
    Values values = weights();
    values.resize(256);
    values[77] = outlier;
    EXPECT_NEAR(decoded(type, encoded(type, values))[77], outlier, type.type == Type::MXFP4 ? 1 : 0.3);
  }
}

TEST_P(Encode, NothingIsReadOrWrittenForZeroValues) {
  std::byte untouched{7};
  GetParam().encode(&untouched, nullptr, 0, nullptr);
  EXPECT_EQ(untouched, std::byte{7});
}

std::vector<TypeTraits> encodable_types() {
  std::vector<TypeTraits> types;
  for (const TypeTraits& type : all_types()) {
    if (type.encode && type.type != Type::F32 && type.type != Type::F16) types.push_back(type);
  }
  return types;
}

INSTANTIATE_TEST_SUITE_P(, Encode, testing::ValuesIn(encodable_types()),
                         [](const auto& type) { return std::string(type.param.name); });

TEST(EncodeFloats, F32IsCopiedAndF16RoundsToEven) {
  const Values values = {1.0f, -0.0f, 65504.0f, 1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, 1e-8f};
  EXPECT_EQ(decoded(traits(Type::F32), encoded(traits(Type::F32), values)), values);
  EXPECT_EQ(decoded(traits(Type::F16), encoded(traits(Type::F16), values)),
            (Values{1.0f, -0.0f, 65504.0f, 1.0f, 1.0f + 0x1p-9f, 0.0f}));
}

// All values of every scale but those that overflow, however few of a block's codes are large.
TEST(EncodeMxfp4, BlocksKeepTheirValues) {
  const TypeTraits& type = traits(Type::MXFP4);
  Bytes blocks;
  for (int e = 0; e <= 252; ++e) {
    for (int largest = 0; largest < 8; ++largest) {
      blocks.push_back(std::byte(e));
      for (int j = 0; j < 16; ++j) {
        const int low = (e + j) % (largest + 1), high = j == 9 ? largest : low / 2;
        blocks.push_back(std::byte((low > 0 ? low | j % 2 * 8 : 0) | high << 4));
      }
    }
  }
  const Values values = decoded(type, blocks);
  EXPECT_EQ(decoded(type, encoded(type, values)), values);
  for (const float v : values) ASSERT_TRUE(std::isfinite(v));
}

TEST(EncodeMxfp4, OfThreeScalesTheOneWithTheLeastErrorIsTaken) {
  const TypeTraits& type = traits(Type::MXFP4);
  Values values(32 * 64);
  for (size_t i = 0; i < values.size(); ++i) values[i] = weights()[i] * (i % 5 == 0 ? 4.0f : 1.0f);
  const Bytes blocks = encoded(type, values);
  int n_other = 0;
  for (size_t b = 0; b < 64; ++b) {
    const Values block(values.begin() + int64_t(b * 32), values.begin() + int64_t((b + 1) * 32));
    Bytes bytes(blocks.begin() + int64_t(b * 17), blocks.begin() + int64_t((b + 1) * 17));
    const double best = relative_error(decoded(type, bytes), block);
    const int e = int(bytes[0]);
    for (const int other : {e - 2, e - 1, e + 1, e + 2}) {
      double error = 0, square = 0;
      for (const float v : block) {
        double least = 1e30;
        for (const int8_t level : fp4_levels)
          least = std::min(least, std::fabs(double(v) - std::ldexp(level, other - 128)));
        error += least * least;
        square += double(v) * double(v);
      }
      EXPECT_LE(best, std::sqrt(error / square) * (1 + 1e-6)) << b;
    }
    n_other += e != mxfp4_exponent(block.data());
  }
  EXPECT_GT(n_other, 5);
}

TEST(EncodeScales, PackedScalesUnpackToThemselves) {
  uint8_t scales[8], minimums[8], packed[12];
  for (int shift = 0; shift < 64; ++shift) {
    for (int j = 0; j < 8; ++j)
      scales[j] = uint8_t((j * 11 + shift) % 64), minimums[j] = uint8_t((j * 29 + 3 * shift) % 64);
    pack_k_scales(packed, scales, minimums);
    const KScales k = unpack_k_scales(packed);
    for (int j = 0; j < 8; ++j) {
      ASSERT_EQ(k.scales[j], scales[j]);
      ASSERT_EQ(k.minimums[j], minimums[j]);
    }
    int8_t signed_scales[16];
    for (int g = 0; g < 16; ++g) signed_scales[g] = int8_t((g * 13 + shift) % 64 - 32);
    pack_q3_k_scales(packed, signed_scales);
    for (int g = 0; g < 16; ++g) ASSERT_EQ(q3_k_scale(packed, g), signed_scales[g]);
  }
}

}  // namespace encode_test
}  // namespace lora
