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

// All cases are computed and one is chosen by masks: a branch would keep the compiler from vectorizing a loop
// of these. Subnormals go through an integer, since arithmetic on f32 denormals takes a processor a hundred
// cycles, and scales of small weights are often subnormal.
inline float to_f32(f16 h) {
  const uint32_t sign = uint32_t{h.bits} << 16 & 0x80000000u;
  const uint32_t rest = h.bits & 0x7fffu;
  const uint32_t normal = (rest << 13) + (112u << 23);
  const uint32_t subnormal = std::bit_cast<uint32_t>(float(int32_t(rest)) * 0x1p-24f);
  const uint32_t special = 0x7f800000u | rest << 13;  // infinity, NaN
  const uint32_t small = 0u - uint32_t(rest < 0x400), large = 0u - uint32_t(rest >= 0x7c00);
  return std::bit_cast<float>(sign | (subnormal & small) | (special & large) | (normal & ~(small | large)));
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
