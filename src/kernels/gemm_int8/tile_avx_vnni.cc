// On AVX-VNNI: VPDPBUSD as in tile_avx512_vnni.cc, in its encoding for processors without AVX-512.
#include "kernels/gemm_int8/tile.h"

#if defined(__x86_64__)
#include <hwy/base.h>
#include <immintrin.h>

#include <cstring>

#include "kernels/vpdpbusd.h"

HWY_PUSH_ATTRIBUTES("avx2,fma," LORA_VPDPBUSD_TARGET)
namespace lora {
namespace {

enum class Codes { by_one_byte, by_two_bytes };

#include "kernels/gemm_int8/tile_256-inl.h"

template <int group, int n>
HWY_INLINE void add_products(__m256i (&sums)[4][n], const uint8_t* w, const int8_t* x, int64_t x_step) {
#pragma GCC unroll 8
  for (int j = 0; j < group / 4; ++j, w += 128, x += x_step) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const __m256i code = load_codes(w + v * 32);
#pragma GCC unroll 2
      for (int i = 0; i < n; ++i) sums[v][i] = LORA_VPDPBUSD(sums[v][i], code, broadcast_four(x + i * 4));
    }
  }
}

template <Codes codes, int group, int n>
HWY_INLINE void sum_products(__m256i (&sums)[4][n], const __m256i (&starts)[n], const uint8_t* w,
                             const int8_t* x, const int8_t* low, int64_t x_step) {
  const auto each = [&](const auto& f) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
#pragma GCC unroll 2
      for (int i = 0; i < n; ++i) sums[v][i] = f(sums[v][i], starts[i]);
    }
  };
  if constexpr (codes == Codes::by_two_bytes) {
    each([](__m256i, __m256i) { return _mm256_setzero_si256(); });
    add_products<group>(sums, w, x, x_step);
    each([](__m256i sum, __m256i start) { return _mm256_add_epi32(_mm256_slli_epi32(sum, 8), start); });
    add_products<group>(sums, w, low, x_step);
  } else {
    each([](__m256i, __m256i start) { return start; });
    add_products<group>(sums, w, x, x_step);
  }
}

}  // namespace

void int8_tile_avx_vnni(const Int8Tile& tile, int group, int) {
  tile.low ? multiply_codes<Codes::by_two_bytes>(tile, group)
           : multiply_codes<Codes::by_one_byte>(tile, group);
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

#include "base/error.h"

namespace lora {
void int8_tile_avx_vnni(const Int8Tile&, int, int) {
  fail("avx_vnni: this build has no such kernels");
}
}  // namespace lora

#endif
