// A linear layer with low-rank adapters (Hu et al., "LoRA", 2021), forward and backward:
//
//   y  = x W^T + bias + sum_k scale_k (x A_k^T) B_k^T
//   dx = dy W + sum_k scale_k (dy B_k) A_k
//   dA_k = scale_k (dy B_k)^T x          dB_k = scale_k dy^T (x A_k^T)
//
// While nn.random_key is there, an adapter with dropout reads D x in place of x, D its own mask over 1 - p
// (kernels/dropout): dA = scale (dy B)^T (D x), and its part of dx is D times it.
//
// With nn.int8, x W^T and dy W are done in 8-bit integers where the type of W has such products: x rounded to
// the nearest; dy too where it has two bytes, else at random while nn.random_key is there; the terms of
// adapters stay in floats.
//
// W is quantized, in the mapped file, and frozen; A and B are f32. Layers that read the same input
// (q, k, v; gate, up) go through one call, which packs that input once; and so do layers of which each has
// its own rows of the input (experts), in the same parallel loops.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "nn/context.h"
#include "quant/types.h"

namespace lora {

struct LoraView {
  const float* a = nullptr;  // (rank, n_in)
  const float* b = nullptr;  // (n_out, rank)
  int64_t rank = 0;
  float scale = 1;
  float* da = nullptr;  // gradients, added to; nullptr: not trained
  float* db = nullptr;
  float dropout = 0;    // probability, in training
  uint64_t stream = 0;  // of its random numbers
};

struct Linear {
  MatrixView w;                 // (n_out, n_in)
  std::string_view tensor;      // "blk.N." tensor ".weight"; or the whole name
  int64_t first_row = 0;        // of the tensor, or of its slice: which may hold other layers' rows, too
  const float* bias = nullptr;  // (n_out), or none
  std::vector<LoraView> loras = {};
  int64_t slice = 0, n_slices = 1;  // where the tensor is a stack of matrices
  uint64_t stream = 0;              // of the random numbers that its gradients are rounded by
  // The weight lies elsewhere, and its body multiplies with it: here only adapters count, on top of what y
  // holds. w has its shape.
  bool adapters_only = false;

  int64_t n_in() const { return w.n_cols; }
  int64_t n_out() const { return w.n_rows; }
};

// One output of a forward call. xa, if not nullptr, receives x A^T of every adapter one after the other, each
// (n_tokens, rank): the backward pass needs it. Without y only xa is computed.
struct LinearOutput {
  const Linear* layer;
  float* y;  // (n_tokens, n_out), or nullptr
  bool accumulate = false;
  float* xa = nullptr;
};

// x: (n_tokens, n_in).
void linear_forward(std::span<const LinearOutput> outputs, const float* x, int64_t n_tokens, NnContext& nn);

struct LinearGradient {
  const Linear* layer;
  const float* dy;  // (n_tokens, n_out)
  const float* xa;  // of the forward pass; nullptr: no adapter is trained
  // Whether in a row of dy few numbers are far larger than the others together, so that rounding them at
  // random to 8 bits would be noise beside which other matrices' is none.
  bool is_of_softmax = false;
};

// dx (n_tokens, n_in) = the sum over the layers, or nothing if dx is nullptr; adapters' gradients are added
// to. dx may be x.
void linear_backward(float* dx, std::span<const LinearGradient> layers, const float* x, int64_t n_tokens,
                     NnContext& nn);

// Values of xa for one layer.
int64_t xa_size(const Linear& layer, int64_t n_tokens);

// How many rows go through a grouped call: memory is taken for as many, whatever the groups have.
struct GroupSize {
  int64_t n_tokens;       // of the whole call; few go another way
  int64_t n_rows;         // of all groups, at most
  int64_t n_padded_rows;  // of all groups, each with its padding (padded_rows()), at most
};

// Some rows, and the layers that read them. All groups have as many outputs, of the same shapes and ranks.
struct LinearGroup {
  std::span<const LinearOutput> outputs;
  TokenRows x;
};
void linear_forward(std::span<const LinearGroup> groups, const GroupSize& size, NnContext& nn);

// dy of `layers`: rows as in dy_index, or one after the other.
struct LinearGroupGradient {
  float* dx;  // (x.n_rows, n_in), or nullptr in all groups
  std::span<const LinearGradient> layers;
  TokenRows x;  // looked at where adapters are trained
  const int32_t* dy_index = nullptr;
};
void linear_backward(std::span<const LinearGroupGradient> groups, const GroupSize& size, NnContext& nn);

}  // namespace lora
