// gemm_int8.h as plain loops: the specification of its bits.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/elementary.h"
#include "base/random.h"
#include "kernels/dot/int8_reference.h"
#include "kernels/gemm_int8/gemm_int8.h"

namespace lora {

// A row of n values as numbers q and a scale d for kGradientGroup of them; zeros follow up to a multiple.
struct RoundedRow {
  std::vector<int16_t> q;
  std::vector<float> d;

  explicit RoundedRow(size_t n)
      : q((n + kGradientGroup - 1) / kGradientGroup * kGradientGroup), d(q.size() / kGradientGroup) {}
};

// Of one byte at random by row_bits, if there are any; of two to the nearest.
inline RoundedRow round_row_reference(std::vector<float> x, TokenBytes bytes, const uint64_t* row_bits) {
  RoundedRow row(x.size());
  x.resize(row.q.size());
  for (size_t g = 0, i = 0; g < row.d.size(); ++g, i += kGradientGroup) {
    int8_t q[kGradientGroup], low[kGradientGroup];
    if (bytes == TokenBytes::two) {
      round_to_two_bytes<kGradientGroup>(&row.q[i], q, low, &row.d[g], &x[i]);
    } else {
      round_at_random<kGradientGroup>(q, &row.d[g], &x[i], row_bits, uint32_t(i));
      std::copy_n(q, kGradientGroup, &row.q[i]);
    }
  }
  return row;
}

// To the nearest of so many steps either way as the kernel set has.
inline RoundedRow round_column_reference(std::vector<float> x) {
  RoundedRow row(x.size());
  x.resize(row.q.size());
  for (size_t g = 0; g < row.d.size(); ++g) {
    const auto of_group = [&](const auto& f) {
      for (size_t i = g * kGradientGroup; i < (g + 1) * kGradientGroup; ++i) f(i);
    };
    uint32_t top = 0;
    of_group([&](size_t i) { top = std::max(top, std::bit_cast<uint32_t>(std::fabs(x[i]))); });
    const Int8Scale scale = int8_scale(top, float(int8_training().column_steps));
    row.d[g] = scale.d;
    of_group([&](size_t i) { row.q[i] = int16_t(std::nearbyint(x[i] * scale.factor)); });
  }
  return row;
}

// sum += what two rows are multiplied with each other, group after group.
inline float add_product_reference(float sum, const RoundedRow& a, const RoundedRow& b) {
  for (size_t g = 0; g < a.d.size(); ++g) {
    int32_t codes = 0;
    for (size_t i = g * kGradientGroup; i < (g + 1) * kGradientGroup; ++i) codes += int32_t{a.q[i]} * b.q[i];
    sum = elementary::fma(float(codes) * b.d[g], a.d[g], sum);
  }
  return sum;
}

// dx (n_tokens, n_in) += dy W. dy: (n_tokens, n_out), w: (n_out, n_in), f32; rounding, of one byte:
// nullptr is to the nearest. What dx holds is the sum so far.
inline void gemm_int8_input_gradient_reference(float* dx, const float* dy, const float* w, int64_t n_tokens,
                                               int64_t n_out, int64_t n_in, TokenBytes bytes,
                                               const RandomRounding* rounding) {
  std::vector<RoundedRow> columns;
  for (int64_t i = 0; i < n_in; ++i) {
    std::vector<float> column;
    for (int64_t o = 0; o < n_out; ++o) column.push_back(w[o * n_in + i]);
    columns.push_back(round_column_reference(column));
  }
  for (int64_t t = 0; t < n_tokens; ++t) {
    const uint64_t row_bits =
        rounding ? random_bits(rounding->key, Purpose::rounding, 0, uint64_t(rounding->position(t))) : 0;
    const RoundedRow row =
        round_row_reference({dy + t * n_out, dy + (t + 1) * n_out}, bytes, rounding ? &row_bits : nullptr);
    for (int64_t i = 0; i < n_in; ++i)
      dx[t * n_in + i] = add_product_reference(dx[t * n_in + i], row, columns[size_t(i)]);
  }
}

}  // namespace lora
