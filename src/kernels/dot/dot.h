// A few tokens against a quantized weight: y[t][o] (+)= sum_i x[t][i] w[o][i].
//
// For up to kDotTokens tokens decoding a row costs more than using it, so each row is decoded once,
// into the first-level cache, and multiplied there in f32. This is generation's case, token by token.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "quant/types.h"

namespace lora {

inline constexpr int64_t kDotTokens = 4;

// y: (n_tokens, w.n_rows), x: (n_tokens, w.n_cols), 1 <= n_tokens <= kDotTokens.
void dot_rows(float* y, const float* x, const MatrixView& w, int64_t n_tokens, bool accumulate,
              ThreadPool& pool);

}  // namespace lora
