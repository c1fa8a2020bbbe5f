#include "quant/types.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/error.h"
#include "quant/formats.h"

#define LORA_SEARCH_NAMESPACE plain
#define LORA_SEARCH_LANES 1
#include "quant/search-inl.h"

namespace lora {
namespace {

constexpr TypeTraits table[] = {
#define LORA_ROW(type, values, bytes, decode, encode) \
  {Type::type, #type, values, bytes, decode, encode<plain::Search>},
    LORA_FOR_EACH_FORMAT(LORA_ROW)
#undef LORA_ROW
        {Type::I8, "I8", 1, 1, nullptr, nullptr},
    {Type::I16, "I16", 1, 2, nullptr, nullptr},
    {Type::I32, "I32", 1, 4, nullptr, nullptr},
    {Type::I64, "I64", 1, 8, nullptr, nullptr},
    {Type::F64, "F64", 1, 8, nullptr, nullptr},
};

}  // namespace

std::span<const TypeTraits> all_types() {
  return table;
}

const TypeTraits* find_type(uint32_t id) {
  const auto* row =
      std::find_if(std::begin(table), std::end(table), [&](auto& r) { return uint32_t(r.type) == id; });
  return row != std::end(table) ? row : nullptr;
}

const TypeTraits* find_type(std::string_view name) {
  for (const TypeTraits& row : table) {
    if (equal_in_any_case(row.name, name)) return &row;
  }
  return nullptr;
}

const TypeTraits& traits(Type type) {
  const TypeTraits* row = find_type(uint32_t(type));
  if (!row) fail("tensor type {}: not in the table of types", uint32_t(type));
  return *row;
}

void decode_row(float* values, const MatrixView& matrix, int64_t row, int64_t begin, int64_t end) {
  const TypeTraits& t = traits(matrix.type);
  if (!t.decode) fail("tensor type {}: holds no weights, cannot be decoded", t.name);
  t.decode(values, matrix.row(row) + begin / t.block_size * t.block_bytes, end - begin);
}

}  // namespace lora
