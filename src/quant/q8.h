// Q8_0: 32 signed bytes with one scale per block.
//
//   34 bytes: f16 d, i8 qs[32]      value j = qs[j] * d
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace lora {

struct BlockQ8_0 {
  f16 d;
  int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// Decodes n values, a multiple of 32.
void decode_q8_0(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
