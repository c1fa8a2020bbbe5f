// Token embedding with low-rank adapters, forward and backward. Row v of the table is the embedding
// of token v; an adapter adds scale * B a[:, v] to it (a one-hot token as the input of W^T + B A).
//
//   x_t = f (E[v_t] + sum_k scale_k B_k a_k[:, v_t]) + P[p_t]
//   dB += f scale dx_t a[:, v_t]^T      da[:, v_t] += f scale B^T dx_t
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention/attention.h"
#include "nn/linear.h"

namespace lora {

struct Embedding {
  MatrixView table;              // (n_vocab, n_embd)
  std::vector<LoraView> loras;   // a: (rank, n_vocab), b: (n_embd, rank)
  float factor = 1;              // f
  Buffer<float> positions = {};  // P: (n_positions, n_embd), or none
};

// x: (n_tokens, n_embd); ids lie in [0, n_vocab), positions in [0, n_positions): the caller checks them.
void embedding_forward(float* x, const Embedding& embedding, std::span<const int32_t> ids,
                       std::span<const int32_t> positions, ThreadPool& pool);

// x_t += f alpha / sqrt(L n_embd) u, with u uniform in [-1, 1) for each number, and L the tokens of its
// segment.
void embedding_noise(float* x, const Embedding& embedding, std::span<const AttentionSegment> segments,
                     const EmbeddingNoise& noise, ThreadPool& pool);

// Adds to the gradients of trained adapters; the table is frozen. dx: (n_tokens, n_embd).
void embedding_backward(const Embedding& embedding, const float* dx, std::span<const int32_t> ids,
                        NnContext& nn);

}  // namespace lora
