// On ARM's dot products: SDOT adds four products of signed bytes to each of four integers. Lanes are weight
// rows; four activations of a token are one lane of a register, which the instruction picks.
#include "kernels/gemm_int8/tile.h"

#if defined(__aarch64__)
#include <hwy/base.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kernels/dot/neon_dot.h"

HWY_PUSH_ATTRIBUTES(LORA_NEON_DOT)
namespace lora {
namespace {

// Four activations of each of n tokens, of which a register takes four.
template <int n>
int8x16_t load_fours(const int8_t* q) {
  if constexpr (n >= 4) {
    return vld1q_s8(q);
  } else {
    uint64_t halves[2] = {};
    std::memcpy(halves, q, 4 * std::max(n, 0));
    return vcombine_s8(vcreate_s8(halves[0]), vcreate_s8(halves[1]));
  }
}

template <int lane>
void add_products(int32x4_t (&sums)[4], const int8x16_t (&codes)[4], int8x16_t fours) {
  for (int v = 0; v < 4; ++v) sums[v] = vdotq_laneq_s32(sums[v], codes[v], fours, lane);
}

// sums += a group of 16 rows times that of n tokens.
template <int n, int group>
void add_group(int32x4_t (&sums)[n][4], const int8_t* codes, const int8_t* q) {
#pragma GCC unroll 1  // of more than one step GCC's order wants more registers than there are
  for (int j = 0; j < group / 4; ++j, codes += 128, q += n * 4) {
    const int8x16_t w[4] = {vld1q_s8(codes), vld1q_s8(codes + 16), vld1q_s8(codes + 32),
                            vld1q_s8(codes + 48)};
    const int8x16_t fours[2] = {load_fours<n>(q), load_fours<n - 4>(q + 16)};
    [&]<int... i>(std::integer_sequence<int, i...>) {
      (add_products<i % 4>(sums[i], w, fours[i / 4]), ...);
    }
    (std::make_integer_sequence<int, n>{});
  }
}

// 16 rows: of 32 registers 24 hold the sums of a group, so that those in floats stay in the first-level
// cache.
template <int n, int group, bool has_minimums, bool has_low>
void multiply(Int8Tile t, int64_t row) {
  float* y = t.sums + row;
  for (int i = 0; i < n && !t.accumulate; ++i) std::fill_n(y + i * t.ld_sums, 16, 0.0f);
  const auto* codes = reinterpret_cast<const int8_t*>(t.codes) + row * 4;
  for (int64_t g = 0; g < t.k / group; ++g, codes += group * kInt8TileRows) {
    int32x4_t sums[n][4];
    const int64_t at_q = g * group * n;
    for (int i = 0; i < n; ++i)
      std::fill_n(sums[i], 4, vdupq_n_s32(has_minimums || has_low ? 0 : t.starts[g * n + i]));
    add_group<n, group>(sums, codes, t.q + at_q);
    if constexpr (has_low) {
      for (int i = 0; i < n; ++i) {
        const int32x4_t start = vdupq_n_s32(has_minimums ? 0 : t.starts[g * n + i]);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) sums[i][v] = vaddq_s32(vshlq_n_s32(sums[i][v], 8), start);
      }
      add_group<n, group>(sums, codes, t.low + at_q);
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const int64_t of_rows = g * kInt8TileRows + row + v * 4;
      const float32x4_t scales = vld1q_f32(t.scales + of_rows);
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) {
        float* at = y + i * t.ld_sums + v * 4;
        float32x4_t sum = vfmaq_n_f32(vld1q_f32(at), vmulq_f32(vcvtq_f32_s32(sums[i][v]), scales),
                                      t.d[(group == 16 ? g / 2 : g) * n + i]);
        if constexpr (has_minimums)
          sum = vfmsq_n_f32(sum, vld1q_f32(t.minimums + of_rows), t.products[g * n + i]);
        vst1q_f32(at, sum);
      }
    }
  }
}

template <int group, bool has_minimums, bool has_low>
void multiply_any(const Int8Tile& tile) {
  constexpr auto kernels = []<int... n>(std::integer_sequence<int, n...>) {
    return std::array{multiply<n + 1, group, has_minimums, has_low>...};
  }
  (std::make_integer_sequence<int, kInt8TileTokens>{});
  for (int64_t row = 0; row < kInt8TileRows; row += 16) kernels[size_t(tile.width - 1)](tile, row);
}

}  // namespace

void int8_tile_neon(const Int8Tile& tile, int group, int) {
  with_group(tile, group, [&]<int n, bool has_minimums>() {
    tile.low ? multiply_any<n, has_minimums, true>(tile) : multiply_any<n, has_minimums, false>(tile);
  });
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

#include "base/error.h"

namespace lora {
void int8_tile_neon(const Int8Tile&, int, int) {
  fail("neon: this build has no such kernels");
}
}  // namespace lora

#endif
