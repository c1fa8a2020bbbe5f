// On AVX512-VNNI: VPDPBUSD adds four products of unsigned and signed bytes to each of 16 integers. Lanes are
// weight rows; a token's four activations are broadcast from memory.
#include "kernels/gemm_int8/tile.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace lora {
namespace {

#define LORA_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

// sums += four columns of 32 rows times those of each token.
template <int n>
LORA_VNNI inline __attribute__((always_inline)) void add_products(__m512i (&sums)[n][2], const uint8_t* w,
                                                                  const int8_t* x) {
  const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
#pragma GCC unroll 6
  for (int i = 0; i < n; ++i) {
    int four;
    std::memcpy(&four, x + i * 4, 4);
    const __m512i all = _mm512_set1_epi32(four);
    sums[i][0] = _mm512_dpbusd_epi32(sums[i][0], w0, all);
    sums[i][1] = _mm512_dpbusd_epi32(sums[i][1], w1, all);
  }
}

// Two vectors of rows: each broadcast serves two products, for loading one takes as long as a product. 12
// accumulators of integers and 12 of floats leave eight registers.
template <int n, int group, bool has_minimums, bool has_low>
LORA_VNNI void multiply(const Int8Tile& t) {
  __m512 y[n][2];
#pragma GCC unroll 6
  for (int i = 0; i < n; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      y[i][v] = t.accumulate ? _mm512_loadu_ps(t.sums + i * t.ld_sums + v * 16) : _mm512_setzero_ps();
    }
  }
  const uint8_t* codes = t.codes;
  const int8_t *q = t.q, *low = t.low;
  const int32_t* starts = t.starts;
  const float *scales = t.scales, *minimums = t.minimums, *d = t.d, *products = t.products;
  for (int64_t k = 0; k < t.k; k += std::max(32, group), d += n) {
    constexpr int n_halves = group == 16 ? 2 : 1;
#pragma GCC unroll 2
    for (int half = 0; half < n_halves; ++half, starts += n, scales += 32) {
      __m512i sums[n][2];
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) {
        sums[i][0] = sums[i][1] = has_low ? _mm512_setzero_si512() : _mm512_set1_epi32(starts[i]);
      }
      const uint8_t* w = codes;
#pragma GCC unroll 8
      for (int j = 0; j < group / 4; ++j, w += 128, q += n * 4) add_products<n>(sums, w, q);
      if constexpr (has_low) {
#pragma GCC unroll 6
        for (int i = 0; i < n; ++i) {
#pragma GCC unroll 2
          for (int v = 0; v < 2; ++v) {
            // As an intrinsic it makes GCC 12 warn of what is not so.
            const auto high = (__m512i)((__v16si)sums[i][v] << 8);
            sums[i][v] = _mm512_add_epi32(high, _mm512_set1_epi32(starts[i]));
          }
        }
        w = codes;
#pragma GCC unroll 8
        for (int j = 0; j < group / 4; ++j, w += 128, low += n * 4) add_products<n>(sums, w, low);
      }
      codes = w;
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const __m512 scale = _mm512_loadu_ps(scales + v * 16);
#pragma GCC unroll 6
        for (int i = 0; i < n; ++i) {
          // The same warning.
          const __m512 sum = (__m512) __builtin_convertvector((__v16si)sums[i][v], __v16sf);
          y[i][v] = _mm512_fmadd_ps(_mm512_mul_ps(sum, scale), _mm512_set1_ps(d[i]), y[i][v]);
        }
        if constexpr (has_minimums) {
          const __m512 minimum = _mm512_loadu_ps(minimums + v * 16);
#pragma GCC unroll 6
          for (int i = 0; i < n; ++i) {
            y[i][v] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(products[i]), y[i][v]);
          }
        }
      }
      if constexpr (has_minimums) {
        minimums += 32;
        products += n;
      }
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < n; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) _mm512_storeu_ps(t.sums + i * t.ld_sums + v * 16, y[i][v]);
  }
}

template <int group, bool has_minimums, bool has_low>
void multiply_any(const Int8Tile& tile) {
  constexpr auto kernels = []<int... n>(std::integer_sequence<int, n...>) {
    return std::array{multiply<n + 1, group, has_minimums, has_low>...};
  }
  (std::make_integer_sequence<int, kInt8TileTokens>{});
  kernels[size_t(tile.width - 1)](tile);
}

}  // namespace

void int8_tile_avx512_vnni(const Int8Tile& tile, int group, int) {
  with_group(tile, group, [&]<int n, bool has_minimums>() {
    tile.low ? multiply_any<n, has_minimums, true>(tile) : multiply_any<n, has_minimums, false>(tile);
  });
}

}  // namespace lora

#else

#include "base/error.h"

namespace lora {
void int8_tile_avx512_vnni(const Int8Tile&, int, int) {
  fail("avx512_vnni: this build has no such kernels");
}
}  // namespace lora

#endif
