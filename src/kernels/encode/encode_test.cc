#include "kernels/encode/encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/test_numbers.h"

namespace lora {
namespace encode_test {

using test::numbers;

std::vector<std::byte> encode(Encoder encoder, const TypeTraits& type, const std::vector<float>& values,
                              const float* importance) {
  // One byte past an aligned address, as blocks in a file may lie.
  std::vector<std::byte> blocks(1 + values.size() / size_t(type.block_size) * size_t(type.block_bytes));
  encoder(blocks.data() + 1, values.data(), int64_t(values.size()), importance);
  return blocks;
}

// Values of every magnitude that a file may hold, from blocks of zeros to the largest numbers.
std::vector<float> mixed_values(int64_t n) {
  std::vector<float> values = numbers(n, 1);
  for (int64_t i = 0; i < n; ++i) {
    const float scales[] = {1, 0, 0.02f, 1e-7f, 1e-30f, 1e30f, 60000, 1};
    values[size_t(i)] *= scales[i / 256 % 8];
    if (i / 256 % 8 == 7) values[size_t(i)] = -3;  // all the same
    if (i % 611 == 0) values[size_t(i)] *= 100;
  }
  return values;
}

// For all numbers of blocks around those that are searched together.
TEST(Encoder, GivesTheBytesOfThePlainEncoder) {
  for (const TypeTraits& type : all_types()) {
    if (!type.encode) continue;
    for (int64_t n = 256; n <= 256 * 19; n += 256 * 3) {
      const std::vector<float> values = mixed_values(n);
      std::vector<float> importance = numbers(n, 2);
      for (float& w : importance) w = std::exp(4 * w);
      for (const float* w :
           {static_cast<const float*>(nullptr), static_cast<const float*>(importance.data())}) {
        EXPECT_EQ(encode(find_encoder(type.type), type, values, w), encode(type.encode, type, values, w))
            << type.name << ", " << n << " values" << (w ? ", weighted" : "");
      }
    }
  }
}

// How many blocks are encoded at once is nobody's business.
TEST(Encoder, PartsAreThoseOfTheWhole) {
  const int64_t n = 256 * 11;
  const std::vector<float> values = mixed_values(n);
  for (const TypeTraits& type : all_types()) {
    if (!type.encode) continue;
    const std::vector<std::byte> whole = encode(find_encoder(type.type), type, values, nullptr);
    const size_t bytes = size_t(256 / type.block_size * type.block_bytes);
    for (int64_t begin = 0; begin < n; begin += 256) {
      const std::vector<float> part(values.begin() + begin, values.begin() + begin + 256);
      const std::vector<std::byte> blocks = encode(find_encoder(type.type), type, part, nullptr);
      EXPECT_EQ(std::memcmp(blocks.data() + 1, whole.data() + 1 + size_t(begin / 256) * bytes, bytes), 0)
          << type.name << ", value " << begin;
    }
  }
}

TEST(Encoder, RefusesTypesWithoutWeights) {
  EXPECT_ANY_THROW(find_encoder(Type::I64));
}

}  // namespace encode_test
}  // namespace lora
