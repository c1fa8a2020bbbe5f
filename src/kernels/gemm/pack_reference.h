// The functions of pack.h as plain loops.
#pragma once

#include "kernels/gemm/pack.h"

namespace lora {

inline void scale_row_reference(float* out, const float* x, int64_t n, float scale) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale;
}

inline void scale_row_reference(bf16* out, const float* x, int64_t n, float scale) {
  for (int64_t i = 0; i < n; ++i) out[i] = to_bf16(x[i] * scale);
}

inline void interleave_rows_reference(uint32_t* out, int64_t stride, const bf16* a, const bf16* b, int64_t n,
                                      int64_t nr) {
  for (int64_t j = 0; j < n; ++j) {
    out[j / nr * stride + j % nr] = uint32_t{a[j].bits} | uint32_t{b[j].bits} << 16;
  }
}

inline void transpose_reference(uint32_t* out, int64_t ld_out, const uint32_t* in, int64_t ld_in,
                                int64_t n_rows, int64_t n_cols) {
  for (int64_t i = 0; i < n_rows; ++i) {
    for (int64_t j = 0; j < n_cols; ++j) out[j * ld_out + i] = in[i * ld_in + j];
  }
}

}  // namespace lora
