#include "kernels/decode/decode.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/gemm/pack.h"

namespace lora {
namespace decode_test {

// Random bytes, so that every scale, infinity and NaN comes up: the bits must be decode_row's for whole rows
// and parts. A NaN is one, whatever its payload.
TEST(RowDecoder, GivesTheBitsOfThePlainDecoder) {
  for (const TypeTraits& type : all_types()) {
    if (!type.decode) continue;
    // Of blocks of 64 values, rows that end within the 256 that are decoded together.
    const int64_t n_rows = 7, n_cols = 3 * 256, rest = type.block_size < 256 ? 64 : 0;
    MatrixView matrix{type.type, nullptr, n_rows, n_cols};
    std::vector<std::byte> bytes(size_t(n_rows * matrix.row_bytes()));
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = std::byte(random_bits(1, Purpose::test, uint64_t(type.type), i));
    matrix.data = bytes.data();
    const RowDecoder decoder(matrix);
    for (int64_t row = 0; row < n_rows; ++row) {
      for (const auto& [begin, end] :
           {std::pair<int64_t, int64_t>{0, 768 - rest}, {256, 512}, {0, 256}, {512, 768 - rest}}) {
        std::vector<float> want(size_t(end - begin)), got(want.size());
        decode_row(want.data(), matrix, row, begin, end);
        decoder(got.data(), row, begin, end);
        for (size_t i = 0; i < got.size(); ++i) {
          EXPECT_TRUE(std::isnan(want[i])
                          ? std::isnan(got[i])
                          : std::bit_cast<uint32_t>(got[i]) == std::bit_cast<uint32_t>(want[i]))
              << type.name << ' ' << got[i] << " for " << want[i];
        }

        std::vector<bf16> rounded(want.size()), want_rounded(want.size());
        scale_row(want_rounded.data(), want.data(), end - begin, 1.0f);
        decoder(rounded.data(), row, begin, end, got.data());
        for (size_t i = 0; i < want.size(); ++i) {
          if (std::isnan(want[i])) {
            EXPECT_TRUE(std::isnan(to_f32(rounded[i])));
          } else {
            EXPECT_EQ(rounded[i].bits, want_rounded[i].bits) << type.name << ' ' << want[i];
          }
        }
      }
    }
  }
}

// Rows one behind the other, from the middle of a matrix.
TEST(RowDecoder, DecodesRowsTogether) {
  std::vector<std::byte> bytes(5 * 2 * 34);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i % 60);
  const RowDecoder decoder({Type::Q8_0, bytes.data(), 5, 64});
  std::vector<float> got(3 * 32), want(32);
  decoder.rows(got.data(), 1, 3, 32, 64, 12);
  for (int64_t r = 0; r < 3; ++r) {
    decoder(want.data(), r + 1, 32, 64);
    EXPECT_TRUE(std::equal(want.begin(), want.end(), got.begin() + r * 32)) << r;
  }
}

TEST(RowDecoder, RefusesTypesWithoutWeights) {
  const std::byte none[8] = {};
  EXPECT_ANY_THROW(RowDecoder({Type::I64, none, 1, 1}));
}

}  // namespace decode_test
}  // namespace lora
