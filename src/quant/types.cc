#include "quant/types.h"

#include <algorithm>

#include "base/error.h"
#include "quant/floats.h"
#include "quant/iq4.h"
#include "quant/q2_k.h"
#include "quant/q3_k.h"
#include "quant/q4.h"
#include "quant/q4_k.h"
#include "quant/q5.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8.h"

namespace lora {
namespace {

// In id order: find_type searches by bisection.
constexpr TypeTraits table[] = {
    {Type::F32, "F32", 1, 4, decode_f32},
    {Type::F16, "F16", 1, 2, decode_f16},
    {Type::Q4_0, "Q4_0", 32, sizeof(BlockQ4_0), decode_q4_0},
    {Type::Q4_1, "Q4_1", 32, sizeof(BlockQ4_1), decode_q4_1},
    {Type::Q5_0, "Q5_0", 32, sizeof(BlockQ5_0), decode_q5_0},
    {Type::Q5_1, "Q5_1", 32, sizeof(BlockQ5_1), decode_q5_1},
    {Type::Q8_0, "Q8_0", 32, sizeof(BlockQ8_0), decode_q8_0},
    {Type::Q2_K, "Q2_K", 256, sizeof(BlockQ2_K), decode_q2_k},
    {Type::Q3_K, "Q3_K", 256, sizeof(BlockQ3_K), decode_q3_k},
    {Type::Q4_K, "Q4_K", 256, sizeof(BlockQ4_K), decode_q4_k},
    {Type::Q5_K, "Q5_K", 256, sizeof(BlockQ5_K), decode_q5_k},
    {Type::Q6_K, "Q6_K", 256, sizeof(BlockQ6_K), decode_q6_k},
    {Type::IQ4_NL, "IQ4_NL", 32, sizeof(BlockIQ4_NL), decode_iq4_nl},
    {Type::IQ4_XS, "IQ4_XS", 256, sizeof(BlockIQ4_XS), decode_iq4_xs},
    {Type::I8, "I8", 1, 1, nullptr},
    {Type::I16, "I16", 1, 2, nullptr},
    {Type::I32, "I32", 1, 4, nullptr},
    {Type::I64, "I64", 1, 8, nullptr},
    {Type::F64, "F64", 1, 8, nullptr},
    {Type::BF16, "BF16", 1, 2, decode_bf16},
};

constexpr bool by_id(const TypeTraits& a, const TypeTraits& b) {
  return a.type < b.type;
}
static_assert(std::is_sorted(std::begin(table), std::end(table), by_id));

constexpr char upper(char c) {
  return 'a' <= c && c <= 'z' ? char(c - 'a' + 'A') : c;
}

}  // namespace

std::span<const TypeTraits> all_types() {
  return table;
}

const TypeTraits* find_type(uint32_t id) {
  const auto less = [](const TypeTraits& row, uint32_t wanted) { return uint32_t(row.type) < wanted; };
  const TypeTraits* row = std::lower_bound(std::begin(table), std::end(table), id, less);
  return row != std::end(table) && uint32_t(row->type) == id ? row : nullptr;
}

const TypeTraits* find_type(std::string_view name) {
  const auto same = [](char a, char b) { return upper(a) == upper(b); };
  for (const TypeTraits& row : table) {
    if (std::equal(row.name.begin(), row.name.end(), name.begin(), name.end(), same)) return &row;
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
