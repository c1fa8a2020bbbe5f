#include "kernels/attention/tile.h"

#include <cstring>

#include "kernels/gemm/pack.h"

namespace lora {
namespace {

constexpr int64_t kWidth = 64;  // columns packed at a time: a multiple of every nr

}  // namespace

template <class T>
void pack_tile_left(T* to, const float* from, int64_t row, int64_t n, float scale, const TileShape& s) {
  for (int64_t r = 0; r < kTile; ++r, to += s.dim_inner) {
    const int64_t valid = r < n ? s.dim : 0;
    if (valid > 0) scale_row(to, from + r * row, valid, scale);
    std::fill(to + valid, to + s.dim_inner, T{});
  }
}

template <class T>
void pack_tile_turned(T* to, const float* from, int64_t row, int64_t n, const TileShape& s) {
  const int64_t nr = s.kernel.nr;
  for (int64_t j = 0; j < kTile; j += nr, to += nr * s.dim_inner) {
    pack_panel(to, from + j * row, row, n - j, s.dim, s.dim_inner, nr, 1.0f);
  }
}

template <class T>
void pack_tile_interleaved(T* to, const float* from, int64_t row, int64_t n, float scale,
                           const TileShape& s) {
  constexpr int64_t kPair = 4 / int64_t(sizeof(T));
  const int64_t nr = s.kernel.nr;
  alignas(64) T rows[2 * kWidth];
  for (int64_t d = 0; d < s.dim_lanes; d += kWidth) {
    const int64_t width = std::min(kWidth, s.dim_lanes - d), valid = std::min(width, s.dim - d);
    for (int64_t r = 0; r < kTile; r += kPair) {
      for (int64_t q = 0; q < kPair; ++q) {
        const int64_t some = r + q < n ? valid : 0;
        if (some > 0) scale_row(rows + q * kWidth, from + (r + q) * row + d, some, scale);
        std::fill(rows + q * kWidth + some, rows + q * kWidth + width, T{});
      }
      T* out = to + d * kTile + r * nr;
      if constexpr (kPair == 1) {
        for (int64_t j = 0; j < width; j += nr) std::memcpy(out + j * kTile, rows + j, size_t(nr) * 4);
      } else {
        interleave_rows(reinterpret_cast<uint32_t*>(out), nr * kTile / 2, rows, rows + kWidth, width, nr);
      }
    }
  }
}

const float* as_left(float*, const float* tile) {
  return tile;
}
const bf16* as_left(bf16* left, const float* tile) {
  scale_row(left, tile, kTile * kTile, 1.0f);
  return left;
}

template <class T>
void multiply_scores(float* scores, const T* left, const T* turned, const TileMask& mask,
                     const TileShape& s) {
  const MicroKernel& kernel = s.kernel;
  for (int64_t i = 0; i < mask.n_rows; i += kernel.mr) {
    const int64_t n_keys = mask.keys(i + kernel.mr);
    for (int64_t j = 0; j < n_keys; j += kernel.nr) {
      kernel.tile(scores + i * kTile + j, kTile, left + i * s.dim_inner, s.dim_inner,
                  turned + j * s.dim_inner, s.dim_inner, false);
    }
  }
}

template <class T>
void add_over_keys(float* sums, const T* left, const T* interleaved, const TileMask& mask,
                   const TileShape& s) {
  const MicroKernel& kernel = s.kernel;
  for (int64_t d = 0; d < s.dim_lanes; d += kernel.nr) {
    for (int64_t i = 0; i < mask.n_rows; i += kernel.mr) {
      const int64_t n_keys = round_up(mask.keys(i + kernel.mr), kernel.k_step);
      if (n_keys == 0) continue;
      kernel.tile(sums + d * kTile + i * kernel.nr, kernel.nr, left + i * kTile, kTile,
                  interleaved + d * kTile, n_keys, true);
    }
  }
}

template <class T>
void add_over_queries(float* sums, const T* left, const T* interleaved, const TileMask& mask,
                      const TileShape& s) {
  const MicroKernel& kernel = s.kernel;
  const int64_t end = round_up(mask.n_rows, kernel.k_step), n_keys = mask.keys(mask.n_rows);
  for (int64_t d = 0; d < s.dim_lanes; d += kernel.nr) {
    for (int64_t j = 0; j < n_keys; j += kernel.mr) {
      const int64_t begin = mask.first_row(j) / kernel.k_step * kernel.k_step;
      if (begin >= end) continue;
      kernel.tile(sums + d * kTile + j * kernel.nr, kernel.nr, left + j * kTile + begin, kTile,
                  interleaved + d * kTile + begin * kernel.nr, end - begin, true);
    }
  }
}

void store_rows(float* to, int64_t row, const float* sums, const float* factors, int64_t n,
                const TileShape& s) {
  const int64_t nr = s.kernel.nr;
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t d = 0; d < s.dim; d += nr) {
      scale_row(to + r * row + d, sums + d * kTile + r * nr, std::min(nr, s.dim - d), factors[r]);
    }
  }
}

#define LORA_INSTANTIATE(T)                                                                         \
  template void pack_tile_left(T*, const float*, int64_t, int64_t, float, const TileShape&);        \
  template void pack_tile_turned(T*, const float*, int64_t, int64_t, const TileShape&);             \
  template void pack_tile_interleaved(T*, const float*, int64_t, int64_t, float, const TileShape&); \
  template void multiply_scores(float*, const T*, const T*, const TileMask&, const TileShape&);     \
  template void add_over_keys(float*, const T*, const T*, const TileMask&, const TileShape&);       \
  template void add_over_queries(float*, const T*, const T*, const TileMask&, const TileShape&);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(bf16)
#undef LORA_INSTANTIATE

}  // namespace lora
