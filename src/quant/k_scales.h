// The 6-bit scales and minimums of Q4_K and Q5_K: eight of each in 12 bytes.
//
// For j < 4, packed[j] holds scale j in its low six bits and packed[j + 4] minimum j. For j >= 4,
// packed[j + 4] holds the low four bits of scale j (low nibble) and of minimum j (high nibble),
// and their upper two bits are the top bits of packed[j - 4] and packed[j].
#pragma once

#include <cstdint>

#include "quant/encode.h"

namespace lora {

struct KScales {
  uint8_t scales[8], minimums[8];
};

inline KScales unpack_k_scales(const uint8_t packed[12]) {
  KScales k;
  for (int j = 0; j < 4; ++j) {
    k.scales[j] = packed[j] & 63;
    k.minimums[j] = packed[j + 4] & 63;
    k.scales[j + 4] = uint8_t((packed[j + 8] & 15) | packed[j] >> 6 << 4);
    k.minimums[j + 4] = uint8_t(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
  }
  return k;
}

inline void pack_k_scales(uint8_t packed[12], const uint8_t scales[8], const uint8_t minimums[8]) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = uint8_t(scales[j] | scales[j + 4] >> 4 << 6);
    packed[j + 4] = uint8_t(minimums[j] | minimums[j + 4] >> 4 << 6);
    packed[j + 8] = uint8_t((scales[j + 4] & 15) | minimums[j + 4] << 4);
  }
}

// The integers of eight groups of 32 values.
template <class Search>
LORA_INLINE void quantize_k_ranges(uint8_t* q, const float* x, const BlockRanges& fit, int highest) {
  for (int group = 0; group < 8; ++group) {
    const float scale = to_f32(fit.d) * float(fit.scale[group]);
    const float minimum = to_f32(fit.dmin) * float(fit.minimum[group]);
    Search::template integers<32>(q + group * 32, x + group * 32, scale, minimum, {0, highest});
  }
}

}  // namespace lora
