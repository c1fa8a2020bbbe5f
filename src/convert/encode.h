// f32 values to tensor types, checked: what every file that this folder writes goes through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/types.h"

namespace lora {

// Encodes n values, a multiple of the block size; importance as for TypeTraits::encode. Error if a value is
// not finite, or too large for `type` (beyond 65504 in F16, for example).
void encode_values(Type type, std::byte* blocks, const float* values, int64_t n,
                   const float* importance = nullptr);

// Error if one of the numbers in `bytes`, of type F32, F16 or BF16, is not finite: for what is copied.
void expect_finite(Type type, std::span<const std::byte> bytes);

}  // namespace lora
