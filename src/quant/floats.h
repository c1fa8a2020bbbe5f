// F32, F16 and BF16: one value per "block", little-endian IEEE binary32, IEEE binary16 and
// bfloat16 (the upper half of binary32).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "quant/block.h"

namespace lora {

// Each decodes n values to f32, exactly.
LORA_INLINE void decode_f32(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  if (n > 0) std::memcpy(values, blocks, size_t(n) * sizeof(float));
}

LORA_INLINE void decode_f16(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    f16 value;
    std::memcpy(&value, blocks + i * 2, 2);
    values[i] = to_f32(value);
  }
}

LORA_INLINE void decode_bf16(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    bf16 value;
    std::memcpy(&value, blocks + i * 2, 2);
    values[i] = to_f32(value);
  }
}

}  // namespace lora
