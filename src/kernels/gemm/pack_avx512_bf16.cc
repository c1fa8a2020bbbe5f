// pack.h's rounding with AVX512-BF16: VCVTNE2PS2BF16 rounds 32 floats at once, to nearest even; rounding
// with integer instructions takes ten for 16.
#include "kernels/gemm/pack.h"

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

}  // namespace lora

#else

#include "base/error.h"

namespace lora {
void scale_row_avx512_bf16(bf16*, const float*, int64_t, float) {
  fail("avx512_bf16: this build has no such kernels");
}
}  // namespace lora

#endif
