// Q8_0: 32 signed bytes with one scale per block.
//
//   34 bytes: f16 d, i8 qs[32]      value j = qs[j] * d
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/block.h"
#include "quant/encode.h"

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

// Encodes n values, a multiple of 32: the largest becomes 127 or -127. At 8 bits no other scale gains
// anything worth its time, and so encoding what was decoded gives the same bytes.
template <class Search>
LORA_INLINE void encode_q8_0(std::byte* __restrict blocks, const float* __restrict values, int64_t n,
                             const float*) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ8_0)) {
    auto& block = block_at<BlockQ8_0>(blocks);
    float largest = 0;
    for (int j = 0; j < 32; ++j) largest = std::max(largest, std::fabs(values[j]));
    const float d = largest / 127, inverse = inverse_scale(d);
    block.d = to_f16_scale(d);
    for (int j = 0; j < 32; ++j) {
      const float q = values[j] * inverse;
      block.qs[j] = int8_t(q + (q < 0 ? -0.5f : 0.5f));  // half away from zero, as ggml rounds
    }
  }
}

}  // namespace lora
