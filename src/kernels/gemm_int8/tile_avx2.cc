// On AVX2: VPMADDUBSW makes pairs of products of unsigned and signed bytes, in 16 bits that must not
// overflow. Of small codes a whole group fits; of others two pairs or one, if need be with signs moved to
// the activations.
#include "base/error.h"
#include "kernels/gemm_int8/tile.h"

#if defined(__x86_64__)
#include <hwy/base.h>
#include <immintrin.h>

#include <cstring>

HWY_PUSH_ATTRIBUTES("avx2,fma")
namespace lora {
namespace {

enum class Codes { group_in_16_bits, two_in_16_bits, one_in_16_bits, are_signed };

#include "kernels/gemm_int8/tile_256-inl.h"

// Keeps GCC from adding in another order, for which it would need more registers than there are.
HWY_INLINE void fix_order(__m256i& sum) {
  asm("" : "+x"(sum));
}

template <Codes codes>
HWY_INLINE __m256i multiply_four(__m256i code, __m256i four) {
  return codes == Codes::are_signed
             ? _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(four, code))
             : _mm256_maddubs_epi16(code, four);
}

template <Codes codes, int group, int n>
HWY_INLINE void sum_products(__m256i (&sums)[4][n], const __m256i (&starts)[n], const uint8_t* w,
                             const int8_t* x, const int8_t* /*low*/, int64_t x_step) {
  const __m256i ones = _mm256_set1_epi16(1);
  if constexpr (codes == Codes::group_in_16_bits) {
#pragma GCC unroll 16
    for (int j = 0; j < group / 4; ++j, w += 128, x += x_step) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const __m256i code = load_codes(w + v * 32);
#pragma GCC unroll 2
        for (int i = 0; i < n; ++i) {
          const __m256i pairs = multiply_four<codes>(code, broadcast_four(x + i * 4));
          sums[v][i] = j == 0 ? pairs : _mm256_add_epi16(sums[v][i], pairs);
          fix_order(sums[v][i]);
        }
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
#pragma GCC unroll 2
      for (int i = 0; i < n; ++i)
        sums[v][i] = _mm256_add_epi32(starts[i], _mm256_madd_epi16(sums[v][i], ones));
    }
  } else {
    constexpr int steps = codes == Codes::two_in_16_bits ? 2 : 1;
#pragma GCC unroll 16
    for (int j = 0; j < group / 4; j += steps, w += steps * 128, x += steps * x_step) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
#pragma GCC unroll 2
        for (int i = 0; i < n; ++i) {
          __m256i pairs = multiply_four<codes>(load_codes(w + v * 32), broadcast_four(x + i * 4));
          if constexpr (steps == 2) {
            pairs = _mm256_add_epi16(pairs, multiply_four<codes>(load_codes(w + 128 + v * 32),
                                                                 broadcast_four(x + x_step + i * 4)));
          }
          sums[v][i] = _mm256_add_epi32(j == 0 ? starts[i] : sums[v][i], _mm256_madd_epi16(pairs, ones));
          fix_order(sums[v][i]);
        }
      }
    }
  }
}

}  // namespace

void int8_tile_avx2(const Int8Tile& tile, int group, int max_code) {
  constexpr int kLargest = 32767 / (2 * 127);  // sum of the codes that one 16-bit sum may take
  if (tile.low) fail("int8_tile_avx2: numbers have two bytes");
  if (max_code == 0) {
    multiply_codes<Codes::are_signed>(tile, group);
  } else if (max_code * group / 4 <= kLargest) {
    multiply_codes<Codes::group_in_16_bits>(tile, group);
  } else if (2 * max_code <= kLargest) {
    multiply_codes<Codes::two_in_16_bits>(tile, group);
  } else if (max_code <= kLargest) {
    multiply_codes<Codes::one_in_16_bits>(tile, group);
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
