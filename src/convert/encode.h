// f32 values to the tensor types that conversion writes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/types.h"

namespace lora {

// Encodes n values, a multiple of the block size, as F32, F16, BF16 or Q8_0, rounding as ggml does. Error if
// a value is not finite in Q8_0, or too large for F16.
void encode_values(Type type, std::byte* blocks, const float* values, int64_t n);

}  // namespace lora
