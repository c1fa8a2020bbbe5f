// IQ4_NL and IQ4_XS: 4-bit indices into 16 fixed, unevenly spaced values.
//
//   IQ4_NL, 32 values, 18 bytes: f16 d, u8 qs[16]
//     value = d * iq4_values[q]
//   IQ4_XS, 256 values, 136 bytes: f16 d, u16 scales_h, u8 scales_l[4], u8 qs[128]
//     value = (d * (scale - 32)) * iq4_values[q], a 6-bit scale per group g of 32 values: its low
//     four bits are nibble g of scales_l (low nibble first), its upper two bits 2g.. of scales_h
//
// In each run of 16 bytes of qs, the low nibble of byte j is value j, the high one value j + 16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace lora {

inline constexpr int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

struct BlockIQ4_NL {
  f16 d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18);

struct BlockIQ4_XS {
  f16 d;
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};
static_assert(sizeof(BlockIQ4_XS) == 136);

// Decode n values, a multiple of 32 and of 256.
void decode_iq4_nl(float* values, const std::byte* blocks, int64_t n);
void decode_iq4_xs(float* values, const std::byte* blocks, int64_t n);

}  // namespace lora
