// Activations to 8 bits, as a plain loop; dot.cc compiles it once more for every kernel set.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/random.h"
#include "quant/block.h"

namespace lora {

// Added to a number below 2^22, leaves it rounded to nearest even as an integer in the low bits.
inline constexpr float kRoundsInt8 = 0x1.8p23f;

// The scale of numbers of which `top` is the largest, as bits: they order as the numbers do, NaN last. It is
// so many steps away from 0. An infinity or NaN gets a d that is none either.
struct Int8Scale {
  float d, factor;
};
LORA_INLINE Int8Scale int8_scale(uint32_t top, float steps = 127) {
  const float largest = std::bit_cast<float>(top);
  const bool is_usable = top >= std::bit_cast<uint32_t>(0x1p-100f) && top < 0x7f800000u;
  return {top < 0x7f800000u && !is_usable ? 0.0f : largest / steps, is_usable ? steps / largest : 0.0f};
}

// q (n), d and sums (n / 32), sums16 (n / 16), as in Int8Row; rounds to nearest even. Values behind the last
// whole block are left out: weights whose rows end within one are no quantized ones.
LORA_INLINE void round_to_int8(int8_t* __restrict q, float* __restrict d, float* __restrict sums,
                               float* __restrict sums16, const float* __restrict x, int64_t n) {
  for (int64_t block = 0; block < n / 32; ++block) {
    const float* x_b = x + block * 32;
    int8_t* q_b = q + block * 32;
    uint32_t top = 0;
    for (int i = 0; i < 32; ++i) top = std::max(top, std::bit_cast<uint32_t>(x_b[i]) & 0x7fffffffu);
    const Int8Scale scale = int8_scale(top);
    d[block] = scale.d;
    for (int i = 0; i < 32; ++i) {
      q_b[i] = int8_t(std::bit_cast<int32_t>(x_b[i] * scale.factor + kRoundsInt8) -
                      std::bit_cast<int32_t>(kRoundsInt8));
    }
    int low = 0, high = 0;
    for (int i = 0; i < 16; ++i) low += q_b[i];
    for (int i = 16; i < 32; ++i) high += q_b[i];
    sums16[2 * block] = d[block] * float(low);
    sums16[2 * block + 1] = d[block] * float(high);
    sums[block] = d[block] * float(low + high);
  }
}

// The largest number of two bytes, 256 high + low, whose bytes both are signed ones.
inline constexpr int kTwoByteSteps = 127 * 256 + 127;

// n values x to such numbers, their bytes (n each) and d; rounds to nearest even.
template <int n>
LORA_INLINE void round_to_two_bytes(int16_t* __restrict numbers, int8_t* __restrict high,
                                    int8_t* __restrict low, float* __restrict d, const float* __restrict x) {
  uint32_t top = 0;
  for (int i = 0; i < n; ++i) top = std::max(top, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  const Int8Scale scale = int8_scale(top, kTwoByteSteps);
  *d = scale.d;
  for (int i = 0; i < n; ++i) {
    numbers[i] = int16_t(std::bit_cast<int32_t>(x[i] * scale.factor + kRoundsInt8) -
                         std::bit_cast<int32_t>(kRoundsInt8));
    high[i] = int8_t((numbers[i] + 128) >> 8);
    low[i] = int8_t(numbers[i]);
  }
}

// n numbers x to q and their d, up or down at random: the mean over row_bits is x; without any, to the
// nearest. `column`: of the first.
template <int n>
LORA_INLINE void round_at_random(int8_t* __restrict q, float* __restrict d, const float* __restrict x,
                                 const uint64_t* row_bits, uint32_t column) {
  uint32_t top = 0;
  for (int i = 0; i < n; ++i) top = std::max(top, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  const Int8Scale scale = int8_scale(top);
  *d = scale.d;
  // In two loops, of which compilers make vectors; of one they make branches.
  float kept[n];
  const auto bounded_of = [&](const auto& up_of) {
    for (int i = 0; i < n; ++i) {
      // What lies beyond is the largest number, a rounding of its factor away.
      const float code = x[i] * scale.factor + up_of(i), below = code < 127.0f ? code : 127.0f;
      kept[i] = below > -127.0f ? below : -127.0f;
    }
  };
  if (row_bits) {
    bounded_of([&, bits = *row_bits](int i) {
      return float(int32_t(random_of_column(bits, column + uint32_t(i)) >> 8)) * 0x1p-24f;
    });
  } else {
    bounded_of([](int) { return 0.5f; });
  }
  for (int i = 0; i < n; ++i) {
    const auto towards_zero = int32_t(kept[i]);
    q[i] = int8_t(towards_zero - (float(towards_zero) > kept[i]));
  }
}

}  // namespace lora
