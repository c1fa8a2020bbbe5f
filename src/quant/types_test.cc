#include "quant/types.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/ascii.h"
#include "base/error.h"
#include "quant/choice.h"

namespace lora {
namespace types_test {

TEST(Types, EveryRowIsFoundByIdAndByNameInAnyCase) {
  for (const TypeTraits& row : all_types()) {
    EXPECT_EQ(find_type(uint32_t(row.type)), &row);
    EXPECT_EQ(find_type(row.name), &row);
    EXPECT_EQ(find_type(lower_case(row.name)), &row);
    EXPECT_EQ(&traits(row.type), &row);
  }
}

TEST(Types, IdsAndNamesAreUniqueAndSizesPositive) {
  std::set<uint32_t> ids;
  std::set<std::string_view> names;
  for (const TypeTraits& row : all_types()) {
    EXPECT_TRUE(ids.insert(uint32_t(row.type)).second) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_GT(row.block_size, 0) << row.name;
    EXPECT_GT(row.block_bytes, 0) << row.name;
  }
}

TEST(Types, UnknownIdsAndNamesAreNotFound) {
  for (uint32_t id : {4u, 5u, 9u, 15u, 31u, 33u, 36u, 38u, 41u, 0xffffffffu})
    EXPECT_EQ(find_type(id), nullptr) << id;
  for (std::string_view name : {"", "Q4", "Q4_K_M", "Q4_K ", "int8"})
    EXPECT_EQ(find_type(name), nullptr) << name;
  EXPECT_THROW(traits(Type(4)), Error);
}

TEST(Types, RowBytesFollowFromTheBlock) {
  EXPECT_EQ((MatrixView{Type::F32, nullptr, 3, 5}.row_bytes()), 20);
  EXPECT_EQ((MatrixView{Type::Q4_0, nullptr, 3, 64}.row_bytes()), 36);
  EXPECT_EQ((MatrixView{Type::Q6_K, nullptr, 3, 512}.row_bytes()), 420);
  // 80000 x 80000 values in f32: the last row starts beyond 4 GiB.
  const MatrixView huge{Type::F32, nullptr, 80000, 80000};
  EXPECT_EQ(huge.row_bytes() * (huge.n_rows - 1), int64_t{25599680000});
}

TEST(Types, IntegerTensorsCannotBeDecoded) {
  const std::byte zeros[32] = {};
  float value = 0;
  EXPECT_THROW(decode_row(&value, {Type::I32, zeros, 1, 1}, 0, 0, 1), Error);
}

TEST(Choice, TheFirstAndLastEighthAndEveryThirdLayerHaveMoreBits) {
  const auto layers = [](int64_t n) {
    std::string text;
    for (int64_t layer = 0; layer < n; ++layer) text += has_more_bits(layer, n) ? '6' : '4';
    return text;
  };
  EXPECT_EQ(layers(8), "64464466");
  EXPECT_EQ(layers(22), "6644644644644644644666");
  EXPECT_EQ(layers(3), "446");
}

TEST(Choice, WhatIsOnlyReadIsWrittenInNoFewerBits) {
  const auto bits = [](const TypeTraits& t) { return double(t.block_bytes) / double(t.block_size); };
  for (const TypeTraits& type : all_types()) {
    if (!type.decode) continue;
    const TypeTraits& written = traits(type_to_write(type.type, 5 * type.block_size));
    EXPECT_NE(written.encode, nullptr) << type.name;
    EXPECT_EQ(5 * type.block_size % written.block_size, 0) << type.name;
    EXPECT_GE(bits(written), bits(type)) << type.name;
    if (type.encode) {
      EXPECT_EQ(written.type, type.type);
    } else {
      EXPECT_LT(bits(written), 1.7 * bits(type)) << type.name;
    }
  }
}

}  // namespace types_test
}  // namespace lora
