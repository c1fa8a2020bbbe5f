// gemm_int8.h as plain loops: the specification of its bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "kernels/dot/int8_reference.h"
#include "kernels/gemm_int8/gemm_int8.h"

namespace lora {

// A row of n values as numbers of 8 bits q and a scale d for 32 of them; zeros follow up to a multiple of 32.
struct RoundedRow {
  std::vector<int8_t> q;
  std::vector<float> d;
};

// To the nearest, or at random by row_bits.
inline RoundedRow round_row_reference(std::vector<float> x, const uint64_t* row_bits = nullptr) {
  x.resize((x.size() + 31) / 32 * 32);
  RoundedRow row{std::vector<int8_t>(x.size()), std::vector<float>(x.size() / 32)};
  for (size_t i = 0; i < x.size(); i += 32) {
    float sums, sums16[2];
    if (row_bits) {
      round_at_random(&row.q[i], &row.d[i / 32], &x[i], *row_bits, uint32_t(i));
    } else {
      round_to_int8(&row.q[i], &row.d[i / 32], &sums, sums16, &x[i], 32);
    }
  }
  return row;
}

// sum += what two rows are multiplied with each other, group after group.
inline float add_product_reference(float sum, const RoundedRow& a, const RoundedRow& b) {
  for (size_t g = 0; g < a.d.size(); ++g) {
    int32_t codes = 0;
    for (size_t i = g * 32; i < (g + 1) * 32; ++i) codes += int32_t{a.q[i]} * b.q[i];
    sum = std::fma(float(codes) * b.d[g], a.d[g], sum);
  }
  return sum;
}

// dx (n_tokens, n_in) += dy W. dy: (n_tokens, n_out), w: (n_out, n_in), f32; rounding: nullptr is to the
// nearest. What dx holds is the sum so far.
inline void gemm_int8_input_gradient_reference(float* dx, const float* dy, const float* w, int64_t n_tokens,
                                               int64_t n_out, int64_t n_in, const RandomRounding* rounding) {
  std::vector<RoundedRow> columns;
  for (int64_t i = 0; i < n_in; ++i) {
    std::vector<float> column;
    for (int64_t o = 0; o < n_out; ++o) column.push_back(w[o * n_in + i]);
    columns.push_back(round_row_reference(column));
  }
  for (int64_t t = 0; t < n_tokens; ++t) {
    const uint64_t row_bits =
        rounding ? random_bits(rounding->key, Purpose::rounding, 0, uint64_t(rounding->position(t))) : 0;
    const RoundedRow row =
        round_row_reference({dy + t * n_out, dy + (t + 1) * n_out}, rounding ? &row_bits : nullptr);
    for (int64_t i = 0; i < n_in; ++i)
      dx[t * n_in + i] = add_product_reference(dx[t * n_in + i], row, columns[size_t(i)]);
  }
}

}  // namespace lora
