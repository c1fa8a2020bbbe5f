// Moving numbers into the forms that the micro-kernels read: bf16 rows, interleaved pairs, transposed blocks.
// Plain data movement and one rounding, so every kernel set gives the same bits, but for denormals: where the
// CPU has bf16 instructions they round to zero, which is how its products read them anyway.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/half.h"
#include "kernels/gemm/micro_kernel.h"

namespace lora {

// out[i] = x[i] * scale.
void scale_row(float* out, const float* x, int64_t n, float scale);
// out[i] = bf16(x[i] * scale), to nearest even.
void scale_row(bf16* out, const float* x, int64_t n, float scale);

// Two rows side by side, cut into panels of nr columns: out[j / nr * stride + j % nr] = {a[j], b[j]}, the
// first in the low half. n and stride are multiples of nr, nr of 8.
void interleave_rows(uint32_t* out, int64_t stride, const bf16* a, const bf16* b, int64_t n, int64_t nr);

// scale_row() with AVX512-BF16 instructions; x86-64 only.
void scale_row_avx512_bf16(bf16* out, const float* x, int64_t n, float scale);

// out[j * ld_out + i] = in[i * ld_in + j] for i < n_rows, j < n_cols.
void transpose(uint32_t* out, int64_t ld_out, const uint32_t* in, int64_t ld_in, int64_t n_rows,
               int64_t n_cols);

// One panel of a right operand whose lanes are the n_rows rows of `from`, times scale: [k_padded /
// pair][nr][pair]. Lanes from n_rows on and columns from n_cols on are zero.
template <class T>
void pack_panel(T* out, const float* const* from, int64_t n_rows, int64_t n_cols, int64_t k_padded,
                int64_t nr, float scale) {
  // 32 bits at a time: a float, or a pair of bf16 that stays together.
  constexpr int64_t kColumns = 256, kPerWord = 4 / int64_t(sizeof(T));
  alignas(64) T rows[kMaxNr * kColumns];
  for (int64_t k0 = 0; k0 < k_padded; k0 += kColumns) {
    const int64_t k = std::min(kColumns, k_padded - k0);
    for (int64_t lane = 0; lane < nr; ++lane) {
      const int64_t valid = lane < n_rows ? std::clamp<int64_t>(n_cols - k0, 0, k) : 0;
      T* to = rows + lane * kColumns;
      if (valid > 0) scale_row(to, from[lane] + k0, valid, scale);
      std::fill(to + valid, to + k, T{});
    }
    transpose(reinterpret_cast<uint32_t*>(out + k0 * nr), nr, reinterpret_cast<const uint32_t*>(rows),
              kColumns / kPerWord, nr, k / kPerWord);
  }
}

}  // namespace lora
