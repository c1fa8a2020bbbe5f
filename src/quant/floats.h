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

// Each encodes n values, rounding to nearest even.
template <class Search>
LORA_INLINE void encode_f32(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                            const float*) {
  if (n > 0) std::memcpy(blocks, values, size_t(n) * sizeof(float));
}

template <class Search>
LORA_INLINE void encode_f16(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                            const float*) {
  for (int64_t i = 0; i < n; ++i) {
    const f16 value = to_f16(values[i]);
    std::memcpy(blocks + i * 2, &value, 2);
  }
}

template <class Search>
LORA_INLINE void encode_bf16(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float*) {
  for (int64_t i = 0; i < n; ++i) {
    const bf16 value = to_bf16(values[i]);
    std::memcpy(blocks + i * 2, &value, 2);
  }
}

}  // namespace lora
