// On AVX2: VPMADDUBSW makes pairs of products of unsigned and signed bytes, in 16 bits that must not
// overflow. Of small codes a whole group fits; of others two, or, with signs moved to the activations, one.
#include "base/error.h"
#include "kernels/gemm_int8/tile.h"

#if defined(__x86_64__)
#include <hwy/base.h>
#include <immintrin.h>

#include <cstring>

HWY_PUSH_ATTRIBUTES("avx2,fma")
namespace lora {
namespace {

enum class Codes { group_in_16_bits, two_in_16_bits, are_signed };

#include "kernels/gemm_int8/tile_256-inl.h"

template <Codes codes, int n>
HWY_INLINE void add_pairs(__m256i (&products)[4][n], const uint8_t* w, const int8_t* x) {
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const __m256i code = load_codes(w + v * 32);
#pragma GCC unroll 2
    for (int i = 0; i < n; ++i) {
      const __m256i four = broadcast_four(x + i * 4);
      const __m256i pairs = codes == Codes::are_signed
                                ? _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(four, code))
                                : _mm256_maddubs_epi16(code, four);
      products[v][i] = _mm256_add_epi16(products[v][i], pairs);
    }
  }
}

template <Codes codes, int group, int n>
HWY_INLINE void add_products(__m256i (&sums)[4][n], const uint8_t* w, const int8_t* x, int64_t x_step) {
  constexpr int steps = codes == Codes::group_in_16_bits ? group / 4 : codes == Codes::two_in_16_bits ? 2 : 1;
  // Loops stay loops: unrolled, GCC reorders their sums and runs out of registers.
#pragma GCC unroll 1
  for (int j = 0; j < group / 4; j += steps) {
    __m256i products[4][n] = {};
    if constexpr (steps <= 2) {
      add_pairs<codes>(products, w, x);
      if (steps == 2) add_pairs<codes>(products, w + 128, x + x_step);
      w += steps * 128, x += steps * x_step;
    } else {
#pragma GCC unroll 1
      for (int s = 0; s < steps; ++s, w += 128, x += x_step) add_pairs<codes>(products, w, x);
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
#pragma GCC unroll 2
      for (int i = 0; i < n; ++i) {
        sums[v][i] = _mm256_add_epi32(sums[v][i], _mm256_madd_epi16(products[v][i], _mm256_set1_epi16(1)));
      }
    }
  }
}

}  // namespace

void int8_tile_avx2(const Int8Tile& tile, int group, int max_code) {
  constexpr int kLargest = 32767 / (2 * 127);  // sum of the codes that one 16-bit sum may take
  if (max_code == 0) {
    multiply_codes<Codes::are_signed>(tile, group);
  } else if (max_code * group / 4 <= kLargest) {
    multiply_codes<Codes::group_in_16_bits>(tile, group);
  } else if (2 * max_code <= kLargest) {
    multiply_codes<Codes::two_in_16_bits>(tile, group);
  } else {
    fail("int8_tile_avx2: codes are too large");
  }
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

namespace lora {
void int8_tile_avx2(const Int8Tile&, int, int) {
  fail("avx2: this build has no such kernels");
}
}  // namespace lora

#endif
