// Activations to 8 bits, as a plain loop; dot.cc compiles it once more for every kernel set.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "quant/block.h"

namespace lora {

// q (n), d and sums (n / 32), sums16 (n / 16), as in Int8Row; rounds to nearest even. Values behind the last
// whole block are left out: weights whose rows end within one are no quantized ones. A block that holds an
// infinity or NaN gets a d that is none either.
LORA_INLINE void round_to_int8(int8_t* __restrict q, float* __restrict d, float* __restrict sums,
                               float* __restrict sums16, const float* __restrict x, int64_t n) {
  constexpr float kRound = 0x1.8p23f;  // added to a small number, leaves it as an integer in the low bits
  for (int64_t block = 0; block < n / 32; ++block) {
    const float* x_b = x + block * 32;
    int8_t* q_b = q + block * 32;
    uint32_t top = 0;  // as bits: they order as the numbers do, NaN last
    for (int i = 0; i < 32; ++i) top = std::max(top, std::bit_cast<uint32_t>(x_b[i]) & 0x7fffffffu);
    const float largest = std::bit_cast<float>(top);
    const bool is_usable = top >= std::bit_cast<uint32_t>(0x1p-100f) && top < 0x7f800000u;
    const float factor = is_usable ? 127.0f / largest : 0.0f;
    d[block] = top < 0x7f800000u && !is_usable ? 0.0f : largest / 127.0f;
    for (int i = 0; i < 32; ++i) {
      q_b[i] = int8_t(std::bit_cast<int32_t>(x_b[i] * factor + kRound) - std::bit_cast<int32_t>(kRound));
    }
    int low = 0, high = 0;
    for (int i = 0; i < 16; ++i) low += q_b[i];
    for (int i = 16; i < 32; ++i) high += q_b[i];
    sums16[2 * block] = d[block] * float(low);
    sums16[2 * block + 1] = d[block] * float(high);
    sums[block] = d[block] * float(low + high);
  }
}

}  // namespace lora
