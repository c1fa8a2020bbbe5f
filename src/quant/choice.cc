#include "quant/choice.h"

namespace lora {
namespace {

struct Fallback {
  Type type, instead;
};
constexpr Fallback kFallbacks[] = {
    {Type::Q2_K, Type::Q4_0},  {Type::Q3_K, Type::Q4_0},  {Type::IQ4_XS, Type::IQ4_NL},
    {Type::Q4_K, Type::Q5_0},  {Type::Q5_K, Type::Q5_1},  {Type::Q6_K, Type::Q8_0},
    {Type::TQ1_0, Type::Q4_0}, {Type::TQ2_0, Type::Q4_0},
};

// Types that are only read. TQ2_0, with as many bits as the smallest of them, is for models that were trained
// to have three values and no more.
constexpr Fallback kWritten[] = {
    {Type::IQ1_S, Type::Q2_K},  {Type::IQ1_M, Type::Q2_K},   {Type::IQ2_XXS, Type::Q2_K},
    {Type::IQ2_XS, Type::Q2_K}, {Type::IQ2_S, Type::Q2_K},   {Type::IQ3_XXS, Type::Q3_K},
    {Type::IQ3_S, Type::Q3_K},  {Type::NVFP4, Type::IQ4_NL},
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

Type type_to_write(Type type, int64_t n_cols) {
  for (const Fallback& row : kWritten) {
    if (row.type == type) return type_for_rows(row.instead, n_cols);
  }
  return type;
}

}  // namespace lora
