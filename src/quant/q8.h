// Q8_0: 32 signed bytes with one scale per block.
//
//   34 bytes: f16 d, i8 qs[32]      value j = qs[j] * d
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/block.h"

namespace lora {

struct LORA_BLOCK BlockQ8_0 {
  f16 d;
  int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// Decodes n values, a multiple of 32.
LORA_INLINE void decode_q8_0(float* __restrict values, const std::byte* __restrict blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ8_0)) {
    const auto& block = block_at<BlockQ8_0>(blocks);
    const float d = to_f32(block.d);
    for (int j = 0; j < 32; ++j) values[j] = float(block.qs[j]) * d;
  }
}

}  // namespace lora
