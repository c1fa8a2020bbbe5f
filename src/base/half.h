// 16-bit floating point: IEEE binary16 (f16) and bfloat16 (bf16) to and from f32.
// Storage only; arithmetic is done in f32. Conversions to 16 bits round to nearest even.
#pragma once

#include <bit>
#include <cstdint>

namespace lora {

struct f16 {
  uint16_t bits;
};
struct bf16 {
  uint16_t bits;
};

inline float to_f32(bf16 h) {
  return std::bit_cast<float>(uint32_t{h.bits} << 16);
}

inline bf16 to_bf16(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f);
  if ((u & 0x7fffffff) > 0x7f800000) return {uint16_t((u >> 16) | 64)};  // quiet NaN, payload's top kept
  return {uint16_t((u + (0x7fff + ((u >> 16) & 1))) >> 16)};
}

// Both cases are computed and one is chosen: without a branch the compiler can vectorize a loop of these.
inline float to_f32(f16 h) {
  const uint32_t sign = uint32_t{h.bits} << 16 & 0x80000000u;
  const uint32_t rest = h.bits & 0x7fffu;
  // Shift exponent and mantissa into place and rescale by 2^112: exact for normals and subnormals alike.
  const float finite = std::bit_cast<float>(rest << 13) * 0x1p112f;
  const uint32_t special = 0x7f800000u | rest << 13;  // infinity, NaN
  return std::bit_cast<float>(sign | (rest >= 0x7c00 ? special : std::bit_cast<uint32_t>(finite)));
}

inline f16 to_f16(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f);
  const uint16_t sign = uint16_t(u >> 16 & 0x8000);
  const uint32_t a = u & 0x7fffffff;
  if (a > 0x7f800000) return {uint16_t(sign | 0x7e00 | (a >> 13 & 0x3ff))};
  if (a >= 0x477ff000) return {uint16_t(sign | 0x7c00)};  // rounds to infinity
  if (a < 0x38800000) {  // subnormal: adding 0.5 leaves the rounded mantissa in the low bits
    const float r = std::bit_cast<float>(a) + 0.5f;
    return {uint16_t(sign | (std::bit_cast<uint32_t>(r) - 0x3f000000u))};
  }
  return {uint16_t(sign | ((a + 0xfff + (a >> 13 & 1) - 0x38000000u) >> 13))};
}

}  // namespace lora
