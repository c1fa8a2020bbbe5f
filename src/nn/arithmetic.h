// In which numbers the products of a training step are done.
#pragma once

#include <string>
#include <string_view>

#include "base/precision.h"
#include "kernels/gemm/gemm.h"

namespace lora {

struct Arithmetic {
  GemmInput floats;   // of what is multiplied in floating point
  bool int8 = false;  // frozen weights that have such products (kernels/gemm_int8): in 8-bit integers
  // Then: gradients have two bytes, not only the logits', where activations have (int8_training()).
  bool fine_gradients = false;

  // NOLINTNEXTLINE(google-explicit-constructor): floats are an arithmetic
  Arithmetic(GemmInput input, bool integers = false, bool fine = false)
      : floats(input), int8(integers), fine_gradients(fine) {}
};

// What a precision means on this machine. Error for int8 where the kernel set in use has no such products.
Arithmetic arithmetic(Precision precision);

// "f32", "bf16" or "int8".
std::string_view name(Arithmetic arithmetic);

// The same with the kernels in use: "avx512 kernels, int8 inputs", instructions that decide bits included.
std::string computed_with(Arithmetic arithmetic);

}  // namespace lora
