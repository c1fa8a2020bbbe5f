// pack.h's roundings with AVX512-BF16: VCVTNE2PS2BF16 rounds 32 floats at once, to nearest even; rounding
// with integer instructions takes ten for 16.
#include "kernels/gemm/pack.h"
#include "kernels/gemm/pack_reference.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define LORA_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace lora {

LORA_AVX512_BF16 void scale_row_avx512_bf16(bf16* out, const float* x, int64_t n, float scale) {
  const __m512 s = _mm512_set1_ps(scale);
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(x + i), s);
    const __m512 high = _mm512_mul_ps(_mm512_loadu_ps(x + i + 16), s);
    _mm512_storeu_si512(out + i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
  if (i == n) return;
  const uint32_t valid = (1u << (n - i)) - 1;
  const __m512 low = _mm512_mul_ps(_mm512_maskz_loadu_ps(__mmask16(valid), x + i), s);
  const __m512 high = _mm512_mul_ps(_mm512_maskz_loadu_ps(__mmask16(valid >> 16), x + i + 16), s);
  _mm512_mask_storeu_epi16(out + i, valid, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

LORA_AVX512_BF16 void interleave_rows_avx512_bf16(uint32_t* out, int64_t stride, const float* a,
                                                  const float* b, int64_t n, int64_t nr) {
  if (nr % 16 != 0) return interleave_rows_reference(out, stride, a, b, n, nr);
  // Word 2 j of the result is word j of a, word 2 j + 1 that of b.
  alignas(64) uint16_t order[32];
  for (int j = 0; j < 16; ++j) {
    order[2 * j] = uint16_t(j);
    order[2 * j + 1] = uint16_t(16 + j);
  }
  const __m512i pairs = _mm512_load_si512(order);
  for (int64_t j = 0; j < n; j += nr, out += stride) {
    for (int64_t i = 0; i < nr; i += 16) {
      const __m512 row_a = _mm512_loadu_ps(a + j + i), row_b = _mm512_loadu_ps(b + j + i);
      const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(row_b, row_a);
      _mm512_storeu_si512(out + i, _mm512_permutexvar_epi16(pairs, rounded));
    }
  }
}

}  // namespace lora

#else

#include "base/error.h"

namespace lora {
void scale_row_avx512_bf16(bf16*, const float*, int64_t, float) {
  fail("avx512_bf16: this build has no such kernels");
}
void interleave_rows_avx512_bf16(uint32_t*, int64_t, const float*, const float*, int64_t, int64_t) {
  fail("avx512_bf16: this build has no such kernels");
}
}  // namespace lora

#endif
