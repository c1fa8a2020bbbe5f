#include "quant/choice.h"

namespace lora {
namespace {

struct Fallback {
  Type type, instead;
};
constexpr Fallback kFallbacks[] = {
    {Type::Q2_K, Type::Q4_0}, {Type::Q3_K, Type::Q4_0}, {Type::IQ4_XS, Type::IQ4_NL},
    {Type::Q4_K, Type::Q5_0}, {Type::Q5_K, Type::Q5_1}, {Type::Q6_K, Type::Q8_0},
};

bool divides(Type type, int64_t n_cols) {
  return n_cols % traits(type).block_size == 0;
}

}  // namespace

Type type_for_rows(Type type, int64_t n_cols) {
  if (divides(type, n_cols)) return type;
  for (const Fallback& row : kFallbacks) {
    if (row.type == type && divides(row.instead, n_cols)) return row.instead;
  }
  return Type::F16;
}

}  // namespace lora
