// bf16 micro-kernel on AVX512-BF16 (Cooper Lake, Sapphire Rapids, Zen 4): VDPBF16PS multiplies 16 pairs of
// bf16 and adds both products of a pair to an f32 lane. 12 x 2 accumulators, 2 registers for r, l broadcast
// from memory. The instruction treats denormals as zero.
#include "kernels/gemm/micro_kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "base/half.h"

namespace lora {
namespace {

constexpr int kMr = 12;

__attribute__((target("avx512f,avx512bf16"))) void tile(float* c, int64_t ldc, const void* left, int64_t ldl,
                                                        const void* right, int64_t k, bool accumulate) {
  const bf16* l = static_cast<const bf16*>(left);
  const bf16* r = static_cast<const bf16*>(right);
  __m512 sum0[kMr], sum1[kMr];
#pragma GCC unroll 12
  for (int i = 0; i < kMr; ++i) {
    sum0[i] = accumulate ? _mm512_loadu_ps(c + i * ldc) : _mm512_setzero_ps();
    sum1[i] = accumulate ? _mm512_loadu_ps(c + i * ldc + 16) : _mm512_setzero_ps();
  }
  for (int64_t p = 0; p < k; p += 2) {
    const __m512bh r0 = (__m512bh)_mm512_loadu_si512(r + p * 32);
    const __m512bh r1 = (__m512bh)_mm512_loadu_si512(r + p * 32 + 32);
#pragma GCC unroll 12
    for (int i = 0; i < kMr; ++i) {
      int pair;
      std::memcpy(&pair, l + i * ldl + p, sizeof pair);
      const __m512bh a = (__m512bh)_mm512_set1_epi32(pair);
      sum0[i] = _mm512_dpbf16_ps(sum0[i], a, r0);
      sum1[i] = _mm512_dpbf16_ps(sum1[i], a, r1);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kMr; ++i) {
    _mm512_storeu_ps(c + i * ldc, sum0[i]);
    _mm512_storeu_ps(c + i * ldc + 16, sum1[i]);
  }
}

}  // namespace

MicroKernel avx512_bf16_micro_kernel() {
  return {kMr, 32, 2, 2, 256, tile, nullptr, nullptr};
}

}  // namespace lora

#else

#include "base/error.h"

namespace lora {
MicroKernel avx512_bf16_micro_kernel() {
  fail("avx512_bf16: this build has no such kernels");
}
}  // namespace lora

#endif
