// dropout.h as plain loops.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/random.h"
#include "kernels/dropout/dropout.h"

namespace lora {

// Numbers whose hash is below it are dropped.
inline uint32_t dropout_threshold(float p) {
  return uint32_t(std::llround(double(p) * 4294967296.0));
}

inline uint64_t dropout_row_key(uint64_t key, int64_t token) {
  return random_bits(key, Purpose::dropout, 0, uint64_t(token));
}

// Columns [begin, n_cols) of one row.
inline void dropout_row_reference(float* y, const float* x, int64_t begin, int64_t n_cols, uint64_t row_key,
                                  float p, bool add) {
  const uint32_t threshold = dropout_threshold(p);
  const float scale = 1 / (1 - p);
  for (int64_t i = begin; i < n_cols; ++i) {
    const float kept = random_of_column(row_key, uint32_t(i)) >= threshold ? x[i] * scale : 0.0f;
    y[i] = add ? y[i] + kept : kept;
  }
}

}  // namespace lora
