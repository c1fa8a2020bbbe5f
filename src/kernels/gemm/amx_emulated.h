// Intel's tile instructions as plain loops, for tests of gemm_amx.cc on processors without them: the same
// tiles, strides and sums (Intel SDM, TDPBF16PS: the products of a pair's first and second elements are
// summed apart, then both are added), at a thousandth of the speed. Included by gemm_amx.cc alone, after
// immintrin.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace lora::emulated {

struct Tile {
  uint8_t row[16][64];
};
inline thread_local Tile tiles[8];

inline void load(int t, const void* from, int64_t stride) {
  for (int i = 0; i < 16; ++i)
    std::memcpy(tiles[t].row[i], static_cast<const uint8_t*>(from) + i * stride, 64);
}
inline void store(int t, void* to, int64_t stride) {
  for (int i = 0; i < 16; ++i) std::memcpy(static_cast<uint8_t*>(to) + i * stride, tiles[t].row[i], 64);
}
inline float element(const Tile& tile, int row, int i) {
  bf16 h;
  std::memcpy(&h, tile.row[row] + 2 * i, 2);
  return to_f32(h);
}
inline void multiply(int c, int a, int b) {
  for (int m = 0; m < 16; ++m) {
    float sums[16];
    std::memcpy(sums, tiles[c].row[m], 64);
    for (int n = 0; n < 16; ++n) {
      float first = 0, second = 0;
      for (int k = 0; k < 16; ++k) {
        first += element(tiles[a], m, 2 * k) * element(tiles[b], k, 2 * n);
        second += element(tiles[a], m, 2 * k + 1) * element(tiles[b], k, 2 * n + 1);
      }
      sums[n] += first + second;
    }
    std::memcpy(tiles[c].row[m], sums, 64);
  }
}

}  // namespace lora::emulated

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig(config) static_cast<void>(config)
#define _tile_release() static_cast<void>(0)
#define _tile_loadd(t, from, stride) ::lora::emulated::load(t, from, stride)
#define _tile_stored(t, to, stride) ::lora::emulated::store(t, to, stride)
#define _tile_zero(t) std::memset(&::lora::emulated::tiles[t], 0, sizeof(::lora::emulated::Tile))
#define _tile_dpbf16ps(c, a, b) ::lora::emulated::multiply(c, a, b)
