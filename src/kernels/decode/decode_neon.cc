// Weights to f32 on NEON: codes as in products of integers, four of them at a time to floats.
#include "kernels/decode/decode_codes.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/dot/int8.h"
#include "quant/formats.h"

namespace lora {
namespace {

using Value = float;

// Nothing is multiplied in integers here.
inline int32x4_t sums_of_four(uint8x16_t a, uint8x16_t) {
  return vreinterpretq_s32_u8(a);
}

#include "kernels/dot/int8_neon-inl.h"
// After the vectors it computes with.
#include "kernels/dot/int8_types-inl.h"

template <class T>
V signed_codes(V codes);

template <class T, bool adds>
void store_values(float* out, V codes, float s0, float s1, float a0, float a1) {
  codes = signed_codes<T>(codes);
  const auto store_16 = [](float* to, uint8x16_t bytes, float s, float a) {
    const int16x8_t low = vmovl_s8(vget_low_s8(vreinterpretq_s8_u8(bytes)));
    const int16x8_t high = vmovl_high_s8(vreinterpretq_s8_u8(bytes));
    const int32x4_t fours[] = {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low),
                               vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
    for (int i = 0; i < 4; ++i) {
      float32x4_t values = vmulq_n_f32(vcvtq_f32_s32(fours[i]), s);
      if constexpr (adds) values = vaddq_f32(values, vdupq_n_f32(a));
      vst1q_f32(to + i * 4, values);
    }
  };
  store_16(out, codes.a, s0, a0);
  store_16(out + 16, codes.b, s1, a1);
}

// After what it stores with.
#include "kernels/decode/decode_codes-inl.h"

}  // namespace

F32Decoder neon_decoder(Type type) {
  return find_decoder(type);
}

}  // namespace lora

#else

namespace lora {
F32Decoder neon_decoder(Type) {
  return nullptr;
}
}  // namespace lora

#endif
