// A few tokens against weights, as generation asks for: y[t][o] (+)= sum_i x[t][i] w[o][i].
//
// Few tokens leave nothing to do but read the weights, so each row is read once and multiplied as it comes:
// 16- and 32-bit floats as they are; quantized ones either decoded, a piece at a time, into the first-level
// cache, or (DotInput::int8) with the activations rounded to 8 bits, code by code (int8.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/parallel.h"
#include "base/precision.h"
#include "quant/types.h"

namespace lora {

// Beyond this many, decoding a panel of weights once for all tokens (gemm/) is faster; from two on, where it
// is there, gemm_int8/.
inline constexpr int64_t kDotTokens = 16;

// What quantized weights are multiplied with. int8 takes effect where int8_dot() has a kernel for the weight.
enum class DotInput { f32, int8 };

// What a precision means here: f32 is exact, the others round, as llama.cpp does.
DotInput dot_input(Precision precision);

// One product. Several that read the same activations share one parallel loop.
struct DotProduct {
  float* y;      // (n_tokens, w.n_rows)
  MatrixView w;  // (n_out, n_in)
  bool accumulate = false;
};

// Products that read the same activations.
struct DotGroup {
  std::span<const DotProduct> products;
  const float* x;  // (n_tokens, n_in)
  int64_t n_tokens;
};

// Bytes that dot_rows() needs beside its operands; n_tokens: of all groups.
int64_t dot_scratch_bytes(int64_t n_tokens, int64_t n_in);

// x: (n_tokens, n_in), 1 <= n_tokens <= kDotTokens; all weights have n_in columns.
void dot_rows(std::span<const DotProduct> products, const float* x, int64_t n_tokens, DotInput input,
              std::byte* scratch, ThreadPool& pool);
// The same for several groups in one loop, each of at most kDotTokens.
void dot_rows(std::span<const DotGroup> groups, DotInput input, std::byte* scratch, ThreadPool& pool);

}  // namespace lora
