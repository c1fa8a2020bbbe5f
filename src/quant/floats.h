// F32, F16 and BF16: one value per "block", little-endian IEEE binary32, IEEE binary16 and
// bfloat16 (the upper half of binary32).
#pragma once

#include <cstddef>
#include <cstdint>

namespace lora {

// Each decodes n values to f32, exactly.
void decode_f32(float* values, const std::byte* blocks, int64_t n);
void decode_f16(float* values, const std::byte* blocks, int64_t n);
void decode_bf16(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
