// Every decoder against bytes that llama.cpp's quantizer wrote and the values its dequantizer gave,
// bit for bit.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "quant/formats.h"
#include "quant/golden_blocks.h"
#include "quant/types.h"

namespace lora {
namespace decode_test {

// The first index at which two vectors differ in a bit, -1 if none.
int64_t first_difference(const float* a, const float* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) return i;
  }
  return -1;
}

class Decode : public testing::TestWithParam<TypeTraits> {};

TEST_P(Decode, AgreesWithLlamaCppBitForBit) {
  const TypeTraits& type = GetParam();
  const GoldenBlocks golden = read_golden_blocks(type.name);
  const int64_t n = golden.n_rows * golden.n_cols;
  ASSERT_EQ(int64_t(golden.raw.size()), n / type.block_size * type.block_bytes);
  std::vector<float> values(size_t(n), -1.0f);
  type.decode(values.data(), golden.raw.data(), n);
  const int64_t i = first_difference(values.data(), golden.values.data(), n);
  EXPECT_EQ(i, -1) << type.name << " value " << i << ": " << values[size_t(i)] << ", expected "
                   << golden.values[size_t(i)];
}

TEST_P(Decode, PartsOfARowAreThoseOfTheWhole) {
  const TypeTraits& type = GetParam();
  const GoldenBlocks golden = read_golden_blocks(type.name);
  const int64_t block = type.block_size;
  for (int64_t row : {int64_t{0}, int64_t{7}, golden.n_rows - 1}) {
    for (int64_t begin = 0; begin < golden.n_cols; begin += block * (block == 1 ? 31 : 1)) {
      for (int64_t end : {begin + block, golden.n_cols}) {
        std::vector<float> values(size_t(end - begin) + 1, 12345.0f);
        decode_row(values.data(), golden.matrix(type.type), row, begin, end);
        const float* expected = golden.values.data() + row * golden.n_cols + begin;
        ASSERT_EQ(first_difference(values.data(), expected, end - begin), -1)
            << row << ' ' << begin << ' ' << end;
        ASSERT_EQ(values.back(), 12345.0f) << "written past the end";
      }
    }
  }
}

TEST_P(Decode, BlocksMayLieAtAnyAddress) {
  const TypeTraits& type = GetParam();
  const GoldenBlocks golden = read_golden_blocks(type.name);
  std::vector<std::byte> shifted(golden.raw.size() + 1);
  std::memcpy(shifted.data() + 1, golden.raw.data(), golden.raw.size());
  std::vector<float> values(golden.values.size());
  type.decode(values.data(), shifted.data() + 1, int64_t(values.size()));
  EXPECT_EQ(first_difference(values.data(), golden.values.data(), int64_t(values.size())), -1);
}

TEST_P(Decode, NothingIsReadOrWrittenForZeroValues) {
  float untouched = 7.0f;
  GetParam().decode(&untouched, nullptr, 0);
  EXPECT_EQ(untouched, 7.0f);
}

std::vector<TypeTraits> golden_types() {
  std::vector<TypeTraits> types;
  for (const TypeTraits& type : all_types()) {
    if (type.decode && type.type != Type::F32) types.push_back(type);  // F32 is its own golden, below
  }
  return types;
}

INSTANTIATE_TEST_SUITE_P(, Decode, testing::ValuesIn(golden_types()),
                         [](const auto& type) { return std::string(type.param.name); });

TEST(DecodeF32, CopiesEveryBitPattern) {
  const uint32_t bits[] = {0, 0x80000000, 1, 0x3f800000, 0xff7fffff, 0x7f800000, 0x7fc00001};
  float values[std::size(bits)];
  traits(Type::F32).decode(values, reinterpret_cast<const std::byte*>(bits), std::size(bits));
  EXPECT_EQ(std::memcmp(values, bits, sizeof bits), 0);
}

TEST(DecodeF16, CoversEveryFiniteValueInfinityAndNan) {
  std::vector<uint16_t> bits(65536);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = uint16_t(i);
  std::vector<float> values(bits.size());
  traits(Type::F16).decode(values.data(), reinterpret_cast<const std::byte*>(bits.data()),
                           int64_t(bits.size()));
  for (size_t i = 0; i < bits.size(); ++i) {
    const int exponent = int(i >> 10 & 31), mantissa = int(i & 1023);
    const double sign = i >> 15 ? -1 : 1;
    if (exponent == 31) {
      EXPECT_TRUE(mantissa ? std::isnan(values[i]) : values[i] == float(sign * INFINITY)) << i;
    } else {
      const double expected =
          exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      ASSERT_EQ(values[i], float(sign * expected)) << i;
    }
  }
}

// A block's values; what it does not name is zero.
template <class Block>
std::vector<float> decoded(Type type, const Block& block) {
  std::vector<float> values(size_t(traits(type).block_size));
  traits(type).decode(values.data(), reinterpret_cast<const std::byte*>(&block), int64_t(values.size()));
  return values;
}

TEST(DecodeMxfp4, EveryScaleIsAPowerOfTwo) {
  for (int e = 0; e < 256; ++e) {
    BlockMXFP4 block{uint8_t(e), {}};
    for (int j = 0; j < 16; ++j) block.qs[j] = uint8_t(j * 17);
    const std::vector<float> values = decoded(Type::MXFP4, block);
    for (size_t j = 0; j < 16; ++j) {
      const double expected = std::ldexp(fp4_values[j], e - 128);
      ASSERT_EQ(values[j], float(expected)) << e;  // beyond F32, an infinity
      ASSERT_EQ(values[j + 16], float(expected)) << e;
      ASSERT_EQ(std::signbit(values[j]), expected < 0) << e;
    }
  }
}

TEST(DecodeNvfp4, EveryScaleIsAFloatOfEightBits) {
  for (int d = 0; d < 256; ++d) {
    const BlockNVFP4 block{{0, uint8_t(d), 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0, 0x21}};
    const int exponent = d >> 3 & 15, fraction = d & 7;
    const double scale = exponent == 0 ? std::ldexp(fraction, -10) : std::ldexp(8 + fraction, exponent - 11);
    const std::vector<float> values = decoded(Type::NVFP4, block);
    EXPECT_EQ(values[16], d == 0x7f ? 0 : float(scale)) << d;
    EXPECT_EQ(values[24], d == 0x7f ? 0 : float(2 * scale)) << d;
  }
}

// All that a file may hold, also what no quantizer writes.
TEST(DecodeTernary, AllBytesAreDigits) {
  for (int byte = 0; byte < 256; ++byte) {
    BlockTQ1_0 block{{uint8_t(byte)}, {uint8_t(byte)}, to_f16(1)};
    const std::vector<float> values = decoded(Type::TQ1_0, block);
    // The digits of a number of five that stands for 256 / 243 of it, rounded up.
    const int number = byte * 243 / 256, powers[] = {81, 27, 9, 3, 1};
    for (size_t k = 0; k < 5; ++k) {
      ASSERT_EQ(values[k * 32], float(number / powers[k] % 3 - 1)) << byte << ' ' << k;
      if (k < 4) {
        ASSERT_EQ(values[240 + k * 4], values[k * 32]);
      }
    }
  }
  BlockTQ2_0 block{{0xe4}, to_f16(2)};
  const std::vector<float> values = decoded(Type::TQ2_0, block);
  for (size_t s = 0; s < 4; ++s) EXPECT_EQ(values[s * 32], 2 * (float(s) - 1));
}

template <class Words>
void expect_book(const Words& words, const char* name, int factor) {
  const GoldenFile file("iq-grids.safetensors");
  const std::vector<int8_t> points = file.read<int8_t>(name);
  ASSERT_EQ(points.size(), sizeof words) << name;
  const auto* bytes = reinterpret_cast<const int8_t*>(words.data());
  for (size_t i = 0; i < points.size(); ++i) ASSERT_EQ(bytes[i], points[i] * factor) << name << ' ' << i;
}

TEST(IqGrids, AreTheBooksOfTheFormats) {
  expect_book(iq2_xxs_grid, "iq2_xxs", 1);
  expect_book(iq2_xs_grid, "iq2_xs", 1);
  expect_book(iq2_s_grid, "iq2_s", 1);
  expect_book(iq3_xxs_grid, "iq3_xxs", 1);
  expect_book(iq3_s_grid, "iq3_s", 1);
  expect_book(iq1_grid, "iq1_s", 8);
  expect_book(iq1_grid, "iq1_m", 8);
  const std::vector<uint8_t> signs = GoldenFile("iq-grids.safetensors").read<uint8_t>("ksigns");
  ASSERT_EQ(signs.size(), 128u);
  for (uint32_t i = 0; i < 128; ++i) {
    for (int l = 0; l < 4; ++l) {
      const uint32_t others = ~(127u << 7 * l);  // the bits of a scale too
      ASSERT_EQ(even_signs(i << 7 * l), uint32_t{signs[i]} << 8 * l);
      ASSERT_EQ(even_signs(others | i << 7 * l) >> 8 * l & 255, signs[i]);
    }
  }
}

}  // namespace decode_test
}  // namespace lora
