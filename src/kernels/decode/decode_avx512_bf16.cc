// Weights straight to bf16 with AVX512-BF16: codes as in products of integers, then one multiplication and
// one rounding for 32 values at a time. The numbers that are rounded are decode_row's, bit for bit.
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

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")
namespace lora {
namespace {

using V = __m256i;
using I = __m256i;
using Value = bf16;

// Nothing is multiplied in integers here.
inline I multiply_sum(V a, V) {
  return a;
}

#include "kernels/dot/int8_x86-inl.h"
// After the vectors it computes with.
#include "kernels/dot/int8_types-inl.h"

inline __m512 floats(__m128i bytes) {
  // Masked by all ones: without a mask GCC 12 warns of what is not so.
  return _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, bytes));
}

inline void store_bf16(bf16* out, __m512 low, __m512 high) {
  _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

template <class T>
V signed_codes(V codes);

template <class T, bool adds>
void store_values(bf16* out, V codes, float s0, float s1, float a0, float a1) {
  codes = signed_codes<T>(codes);
  __m512 low = _mm512_mul_ps(floats(_mm256_castsi256_si128(codes)), _mm512_set1_ps(s0));
  __m512 high = _mm512_mul_ps(floats(_mm256_extracti128_si256(codes, 1)), _mm512_set1_ps(s1));
  if constexpr (adds) {
    low = _mm512_add_ps(low, _mm512_set1_ps(a0));
    high = _mm512_add_ps(high, _mm512_set1_ps(a1));
  }
  store_bf16(out, low, high);
}

// After what it stores with.
#include "kernels/decode/decode_codes-inl.h"

// n floats of any kind: load(i, mask) gives 16 of them.
template <class Load>
void round_floats(bf16* out, int64_t n, const Load& load) {
  constexpr __mmask16 all = 0xffff;
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) store_bf16(out + i, load(i, all), load(i + 16, all));
  if (i == n) return;
  const uint32_t valid = (1u << (n - i)) - 1;
  const __m512 low = load(i, __mmask16(valid)), high = load(i + 16, __mmask16(valid >> 16));
  _mm512_mask_storeu_epi16(out + i, valid, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

void decode_f32(bf16* out, const std::byte* floats, int64_t n) {
  round_floats(out, n,
               [&](int64_t i, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, floats + i * 4); });
}

void decode_f16(bf16* out, const std::byte* floats, int64_t n) {
  round_floats(out, n, [&](int64_t i, __mmask16 mask) {
    return _mm512_maskz_cvtph_ps(mask, _mm256_maskz_loadu_epi16(mask, floats + i * 2));
  });
}

}  // namespace

Bf16Decoder avx512_bf16_decoder(Type type) {
  if (type == Type::F32) return decode_f32;
  if (type == Type::F16) return decode_f16;
  return find_decoder(type);
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

namespace lora {
Bf16Decoder avx512_bf16_decoder(Type) {
  return nullptr;
}
}  // namespace lora

#endif
