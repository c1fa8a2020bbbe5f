// The innermost loop of gemm_int8.cc: 32 weight rows times up to six tokens.
#pragma once

#include <cstdint>

namespace lora {

inline constexpr int kInt8TileRows = 32, kInt8TileTokens = 6;

struct Int8Tile {
  // Of the rows.
  const uint8_t* codes;   // [k / 4][32][4]
  const float* scales;    // [k / group][32]
  const float* minimums;  // the same, or nullptr
  // Of the tokens, side by side.
  const int8_t* q;        // [k / 4][width][4]
  const int8_t* low;      // the same, then numbers are 256 q + low; or nullptr. Not for avx2
  const float* d;         // [k / 32][width], or of groups of 64
  const int32_t* starts;  // [k / group][width]: -offset sum of a group's numbers; with minimums 0
  const float* products;  // d times that sum; only with minimums
  int width;              // 1 .. kInt8TileTokens
  // Output.
  float* sums;  // (width, 32), ld_sums apart
  int64_t ld_sums;
  int64_t k;        // a multiple of 32 and of a group
  bool accumulate;  // else what stands in sums counts for nothing
};

// Calls multiply<group, has_minimums>() for a group that is known when the program runs.
template <class Multiply>
void with_group(const Int8Tile& tile, int group, const Multiply& multiply) {
  if (tile.minimums) {
    group == 16 ? multiply.template operator()<16, true>() : multiply.template operator()<32, true>();
  } else if (group == 64) {
    multiply.template operator()<64, false>();
  } else {
    group == 16 ? multiply.template operator()<16, false>() : multiply.template operator()<32, false>();
  }
}

// A file each. group: 16, 32 or 64; max_code: as in int8_codes.h.
using Int8TileKernel = void (*)(const Int8Tile& tile, int group, int max_code);
void int8_tile_scalar(const Int8Tile& tile, int group, int max_code);
void int8_tile_avx2(const Int8Tile& tile, int group, int max_code);
void int8_tile_avx_vnni(const Int8Tile& tile, int group, int max_code);
void int8_tile_avx512_vnni(const Int8Tile& tile, int group, int max_code);
void int8_tile_neon(const Int8Tile& tile, int group, int max_code);

}  // namespace lora
