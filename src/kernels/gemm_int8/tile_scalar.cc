// The tile in plain C++, which says what the others compute, bit by bit.
#include <algorithm>

#include "base/elementary.h"
#include "kernels/gemm_int8/tile.h"

namespace lora {

void int8_tile_scalar(const Int8Tile& t, int group, int max_code) {
  for (int64_t token = 0; token < t.width; ++token) {
    float* y = t.sums + token * t.ld_sums;
    if (!t.accumulate) std::fill_n(y, kInt8TileRows, 0.0f);
    for (int64_t g = 0; g < t.k / group; ++g) {
      const int64_t of_token = g * t.width + token, of_rows = g * kInt8TileRows;
      int32_t sums[kInt8TileRows];
      std::fill_n(sums, kInt8TileRows, t.minimums ? 0 : t.starts[of_token]);
      for (int64_t k = g * group; k < (g + 1) * group; k += 4) {
        const uint8_t* codes = t.codes + k * kInt8TileRows;
        int16_t numbers[4];  // of 16 bits, so that compilers see products of which two make a sum
        for (int64_t i = 0, at = k * t.width + token * 4; i < 4; ++i, ++at)
          numbers[i] = int16_t(t.low ? t.q[at] * 256 + t.low[at] : t.q[at]);
        for (int r = 0; r < kInt8TileRows; ++r) {
          for (int i = 0; i < 4; ++i) {
            const uint8_t code = codes[r * 4 + i];
            sums[r] += (max_code == 0 ? int8_t(code) : code) * numbers[i];
          }
        }
      }
      const float d = t.d[(group == 16 ? g / 2 : g) * t.width + token];
      for (int r = 0; r < kInt8TileRows; ++r) {
        y[r] = elementary::fma(float(sums[r]) * t.scales[of_rows + r], d, y[r]);
        if (t.minimums) y[r] = elementary::fma(-t.minimums[of_rows + r], t.products[of_token], y[r]);
      }
    }
  }
}

}  // namespace lora
