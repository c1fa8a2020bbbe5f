// Q4_K: 256 values of 4 bits; 8 groups of 32 values, each with a 6-bit scale and minimum.
//
//   144 bytes: f16 d, f16 dmin, u8 scales[12] (k_scales.h), u8 qs[128]
//
// value = (d * scale) * q - dmin * minimum
// Groups 2p and 2p + 1 share 32 bytes of qs: byte 32 p + l holds value l of the first in its low
// nibble and value l of the second in its high nibble.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace lora {

struct BlockQ4_K {
  f16 d, dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

// Decodes n values, a multiple of 256.
void decode_q4_k(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
