// Moving numbers into the forms that the micro-kernels read: bf16 rows, interleaved pairs, transposed blocks.
// Plain data movement and one rounding, so every kernel set gives the same bits, but for denormals: where the
// CPU has bf16 instructions they round to zero, which is how its products read them anyway.
#pragma once

#include <cstdint>

#include "base/half.h"

namespace lora {

// out[i] = x[i] * scale.
void scale_row(float* out, const float* x, int64_t n, float scale);
// out[i] = bf16(x[i] * scale), to nearest even.
void scale_row(bf16* out, const float* x, int64_t n, float scale);

// Two rows side by side, cut into panels of nr columns: out[j / nr * stride + j % nr] = {bf16(a[j]),
// bf16(b[j])}, the first in the low half. n and stride are multiples of nr, nr of 8.
void interleave_rows(uint32_t* out, int64_t stride, const float* a, const float* b, int64_t n, int64_t nr);

// The same with AVX512-BF16 instructions; x86-64 only.
void scale_row_avx512_bf16(bf16* out, const float* x, int64_t n, float scale);
void interleave_rows_avx512_bf16(uint32_t* out, int64_t stride, const float* a, const float* b, int64_t n,
                                 int64_t nr);

// out[j * ld_out + i] = in[i * ld_in + j] for i < n_rows, j < n_cols.
void transpose(uint32_t* out, int64_t ld_out, const uint32_t* in, int64_t ld_in, int64_t n_rows,
               int64_t n_cols);

}  // namespace lora
