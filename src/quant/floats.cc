#include "quant/floats.h"

#include <cstring>

#include "quant/block.h"

namespace lora {

void decode_f32(float* values, const std::byte* blocks, int64_t n) {
  if (n > 0) std::memcpy(values, blocks, size_t(n) * sizeof(float));
}

void decode_f16(float* values, const std::byte* blocks, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = to_f32(load_block<f16>(blocks + i * 2));
}

void decode_bf16(float* values, const std::byte* blocks, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = to_f32(load_block<bf16>(blocks + i * 2));
}

}  // namespace lora
