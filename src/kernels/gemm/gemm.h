// Matrix products of activations with quantized weights, forward and backward.
//
//   gemm_forward          y[t][o]  = sum over terms of  sum_i x[t][i]  w[o][i]
//   gemm_input_gradient   dx[t][i] = sum over terms of  sum_o dy[t][o] w[o][i]
//   gemm_weight_gradient  dw[o][i] = sum_t dy[t][o] x[t][i]          (f32 only: adapters)
//
// A term is one (activations, weight) pair; a linear layer with LoRA is two terms of one product
// (y = x W^T + (s x A^T) B^T), and the gradient of an input that feeds q, k and v is six.
//
// How: a worker takes a slab of the output, decodes the panel of weight rows it needs, block by
// block of the inner dimension, into its cache in the form the multiply unit wants, and uses it
// for all tokens of the slab. Weights are never transposed and never stored decoded.
//
//                         left operand L (rows, broadcast)     right operand R (lanes)
//   gemm_forward          W's rows as they are                 x, packed: lanes are tokens
//   gemm_input_gradient   dy, packed                           W's rows, interleaved
//
// Exactness: f32 accumulation. In f32 each output is one chain of fused multiply-adds in the order
// of the inner dimension (broken every `kc`), so it does not depend on threads, on the slab or on
// which other tokens are in the batch. bf16 rounds both inputs (to nearest even) and multiplies
// exactly; the order inside a pair of products is the instruction's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/buffer.h"
#include "base/parallel.h"
#include "base/precision.h"
#include "quant/types.h"

namespace lora {

enum class GemmInput { f32, bf16 };

// What a precision means on this machine for products of floats: automatic and int8 are bf16 where the kernel
// set in use multiplies bf16.
GemmInput gemm_input(Precision precision);

// Activations repacked for the multiply unit, `n_tokens` rows of `n_cols` values. Filled once and
// used for every weight that reads them.
struct PackedTokens {
  const std::byte* data = nullptr;
  int64_t n_tokens = 0, n_cols = 0;
};

// Bytes of storage that either packing needs at most.
int64_t packed_bytes(GemmInput input, int64_t n_tokens, int64_t n_cols);

// Packs scale * x[t][0..n_cols) for gemm_forward (as R). x: (n_tokens, n_cols).
PackedTokens pack_forward(std::byte* storage, const float* x, int64_t n_tokens, int64_t n_cols, float scale,
                          GemmInput input, ThreadPool& pool);
// Packs scale * dy for gemm_input_gradient (as L). dy: (n_tokens, n_cols).
PackedTokens pack_gradient(std::byte* storage, const float* dy, int64_t n_tokens, int64_t n_cols, float scale,
                           GemmInput input, ThreadPool& pool);

// Rows of x for one packing: the first n_rows, or with an index rows index[0], index[1] and so on.
struct TokenRows {
  const float* x;  // (.., n_cols)
  const int32_t* index = nullptr;
  int64_t n_rows = 0;

  const float* row(int64_t r, int64_t n_cols) const { return x + (index ? index[r] : r) * n_cols; }
};

// The same for several groups of rows in one loop, each packed by itself: `packed` receives one for each.
// storage: as grouped_packed_bytes() says for as many rows as padded_rows() of all groups add up to.
int64_t padded_rows(GemmInput input, int64_t n_rows);
int64_t grouped_packed_bytes(GemmInput input, int64_t n_padded_rows, int64_t n_cols);
void pack_forward(PackedTokens* packed, std::byte* storage, std::span<const TokenRows> groups, int64_t n_cols,
                  float scale, GemmInput input, ThreadPool& pool);
void pack_gradient(PackedTokens* packed, std::byte* storage, std::span<const TokenRows> groups,
                   int64_t n_cols, float scale, GemmInput input, ThreadPool& pool);

struct GemmTerm {
  PackedTokens x;  // packed by pack_forward or pack_gradient
  MatrixView w;    // (n_out, n_in)
};

// Per-worker scratch of fixed size, allocated once.
class GemmScratch {
 public:
  explicit GemmScratch(int n_workers);
  std::byte* worker(int w) { return storage_.data() + w * bytes_per_worker(); }
  static int64_t bytes_per_worker();

 private:
  Buffer<std::byte> storage_;
};

// y (n_tokens, n_out) = or, with accumulate, += the sum over terms. All terms share n_tokens and n_out.
void gemm_forward(float* y, std::span<const GemmTerm> terms, bool accumulate, GemmInput input,
                  GemmScratch& scratch, ThreadPool& pool);

// dx (n_tokens, n_in) = or += the sum over terms. All terms share n_tokens and n_in.
void gemm_input_gradient(float* dx, std::span<const GemmTerm> terms, bool accumulate, GemmInput input,
                         GemmScratch& scratch, ThreadPool& pool);

// Several products in one loop, so that none waits for another: experts, each with its own tokens.
struct GemmProduct {
  float* out;  // y or dx
  std::span<const GemmTerm> terms;
};
void gemm_forward(std::span<const GemmProduct> products, bool accumulate, GemmInput input,
                  GemmScratch& scratch, ThreadPool& pool);
void gemm_input_gradient(std::span<const GemmProduct> products, bool accumulate, GemmInput input,
                         GemmScratch& scratch, ThreadPool& pool);

// dw (n_out, n_in) += scale * sum_t dy[t][o] x[t][i].  dy: (n_tokens, n_out), x: (n_tokens, n_in), f32.
void gemm_weight_gradient(float* dw, const float* dy, const float* x, int64_t n_tokens, int64_t n_out,
                          int64_t n_in, float scale, ThreadPool& pool);

// A matrix of floats in memory as a weight (adapters).
inline MatrixView f32_matrix(const float* data, int64_t n_rows, int64_t n_cols) {
  return {Type::F32, reinterpret_cast<const std::byte*>(data), n_rows, n_cols};
}

}  // namespace lora
