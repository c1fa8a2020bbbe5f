#include "nn/arithmetic.h"

#include <fmt/format.h>

#include "base/error.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "kernels/isa.h"

namespace lora {

Arithmetic arithmetic(Precision precision) {
  const bool int8 = precision == Precision::int8;
  if (int8 && !has_int8_gemm())
    fail("--precision int8: the kernels for {} have no products in 8-bit integers on this processor",
         name(isa()));
  return {gemm_input(precision), int8};
}

std::string_view name(Arithmetic arithmetic) {
  if (arithmetic.int8) return "int8";
  return arithmetic.floats == GemmInput::bf16 ? "bf16" : "f32";
}

std::string computed_with(Arithmetic arithmetic) {
  return fmt::format("{} kernels, {} inputs", instructions_text(), name(arithmetic));
}

}  // namespace lora
