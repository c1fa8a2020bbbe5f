#include "kernels/attention/tile.h"

#include <cstring>

#include "kernels/gemm/pack.h"

namespace lora {

template <class T>
void pack_tile(T* to, const float* from, int64_t row, int64_t n, float scale, const TileShape& s) {
  for (int64_t r = 0; r < kTile; ++r, to += s.dim_lanes) {
    const int64_t valid = r < n ? s.dim : 0;
    if (valid > 0) scale_row(to, from + r * row, valid, scale);
    std::fill(to + valid, to + s.dim_lanes, T{});
  }
}

template <class T>
void turn_packed(T* to, const T* packed, const TileShape& s) {
  constexpr int64_t kPair = 4 / int64_t(sizeof(T));  // of bf16, two stay together
  const int64_t nr = s.kernel.nr;
  for (int64_t j = 0; j < kTile; j += nr) {
    transpose(reinterpret_cast<uint32_t*>(to + j * s.dim_inner), nr,
              reinterpret_cast<const uint32_t*>(packed + j * s.dim_lanes), s.dim_lanes / kPair, nr,
              s.dim_inner / kPair);
  }
}

void interleave_packed(float* to, const float* packed, const TileShape& s) {
  const int64_t nr = s.kernel.nr;
  for (int64_t r = 0; r < kTile; ++r, packed += s.dim_lanes) {
    for (int64_t d = 0; d < s.dim_lanes; d += nr) {
      std::memcpy(to + d * kTile + r * nr, packed + d, size_t(nr) * sizeof(float));
    }
  }
}

void interleave_packed(bf16* to, const bf16* packed, const TileShape& s) {
  const int64_t nr = s.kernel.nr;
  for (int64_t r = 0; r < kTile; r += 2, packed += 2 * s.dim_lanes) {
    interleave_rows(reinterpret_cast<uint32_t*>(to + r * nr), nr * kTile / 2, packed, packed + s.dim_lanes,
                    s.dim_lanes, nr);
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
    for (int64_t j = mask.first_key(i) / kernel.nr * kernel.nr; j < n_keys; j += kernel.nr) {
      kernel.tile(scores + i * kTile + j, kTile, left + i * s.dim_lanes, s.dim_lanes,
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
      const int64_t begin = mask.first_key(i) / kernel.k_step * kernel.k_step;
      const int64_t end = round_up(mask.keys(i + kernel.mr), kernel.k_step);
      if (begin >= end) continue;
      kernel.tile(sums + d * kTile + i * kernel.nr, kernel.nr, left + i * kTile + begin, kTile,
                  interleaved + d * kTile + begin * kernel.nr, end - begin, true);
    }
  }
}

template <class T>
void add_over_queries(float* sums, const T* left, const T* interleaved, const TileMask& mask,
                      const TileShape& s) {
  const MicroKernel& kernel = s.kernel;
  const int64_t first_key = mask.first_key(0) / kernel.mr * kernel.mr, n_keys = mask.keys(mask.n_rows);
  for (int64_t d = 0; d < s.dim_lanes; d += kernel.nr) {
    for (int64_t j = first_key; j < n_keys; j += kernel.mr) {
      const int64_t end = round_up(mask.end_row(j + kernel.mr - 1), kernel.k_step);
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

#define LORA_INSTANTIATE(T)                                                                     \
  template void pack_tile(T*, const float*, int64_t, int64_t, float, const TileShape&);         \
  template void turn_packed(T*, const T*, const TileShape&);                                    \
  template void multiply_scores(float*, const T*, const T*, const TileMask&, const TileShape&); \
  template void add_over_keys(float*, const T*, const T*, const TileMask&, const TileShape&);   \
  template void add_over_queries(float*, const T*, const T*, const TileMask&, const TileShape&);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(bf16)
#undef LORA_INSTANTIATE

}  // namespace lora
