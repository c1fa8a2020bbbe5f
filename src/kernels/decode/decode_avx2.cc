// Weights to f32 on AVX2: codes as in products of integers, eight of them at a time to floats.
#include "kernels/decode/decode_codes.h"

#if defined(__x86_64__)
#include <hwy/base.h>
#include <immintrin.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/dot/int8.h"
#include "quant/formats.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c")
namespace lora {
namespace {

using V = __m256i;
using I = __m256i;
using Value = float;

// Nothing is multiplied in integers here.
inline I multiply_sum(V a, V) {
  return a;
}

#include "kernels/dot/int8_x86-inl.h"
// After the vectors it computes with.
#include "kernels/dot/int8_types-inl.h"

template <class T>
V signed_codes(V codes);

template <class T, bool adds>
void store_values(float* out, V codes, float s0, float s1, float a0, float a1) {
  codes = signed_codes<T>(codes);
  const auto store_16 = [&](float* to, __m128i bytes, float s, float a) {
    for (int i = 0; i < 2; ++i, bytes = _mm_srli_si128(bytes, 8)) {
      F values = multiply(to_floats(_mm256_cvtepi8_epi32(bytes)), broadcast(s));
      if constexpr (adds) values = plus(values, broadcast(a));
      store_floats(to + i * 8, values);
    }
  };
  store_16(out, _mm256_castsi256_si128(codes), s0, a0);
  store_16(out + 16, _mm256_extracti128_si256(codes, 1), s1, a1);
}

// After what it stores with.
#include "kernels/decode/decode_codes-inl.h"

}  // namespace

F32Decoder avx2_decoder(Type type) {
  return find_decoder(type);
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

namespace lora {
F32Decoder avx2_decoder(Type) {
  return nullptr;
}
}  // namespace lora

#endif
