// Every decoder against bytes that llama.cpp's quantizer wrote and the values its dequantizer gave,
// bit for bit.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "quant/golden_blocks.h"
#include "quant/types.h"

namespace lora {
namespace {

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

}  // namespace
}  // namespace lora
