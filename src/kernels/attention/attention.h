// Causal attention with grouped key/value heads, forward and backward, in tiles with a running
// maximum (Dao et al., "FlashAttention", 2022): no ctx x ctx matrix exists anywhere.
//
//   s_ij = scale * q_i . k_j   for visible j,   p_ij = exp(s_ij - lse_i),   out_i = sum_j p_ij v_j
//   lse_i = ln sum_j exp(s_ij)
//
// With a window a query sees its last keys only; tiles of keys before it cost nothing. With a softcap c,
// c tanh(s / c) takes the place of s. A sink is one more score of every query of a head, whose key has no
// value: exp(sink) is added to the sum (Xiao et al., "Efficient Streaming Language Models with Attention
// Sinks", 2023).
//
// The products run on the micro-kernels of gemm/, with f32 or bf16 inputs and f32 sums; softmax is f32.
//
// A batch is a flat list of tokens cut into segments; attention stays inside its segment. Query
// head h reads key/value head h / (n_head / n_head_kv). Arrays are f32, dense, row-major.
// Results do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <span>

#include "base/parallel.h"
#include "kernels/gemm/gemm.h"
#include "quant/types.h"

namespace lora {

// Queries q_begin .. q_begin + n_q and keys kv_begin .. kv_begin + n_kv (rows of their arrays),
// n_kv >= n_q >= 0. Query i of the segment sees its keys 0 .. n_kv - n_q + i: in training
// n_q = n_kv; in generation the past is in the cache and n_kv > n_q.
struct AttentionSegment {
  int64_t q_begin, n_q, kv_begin, n_kv;
};

struct AttentionShape {
  int64_t n_head, n_head_kv;     // n_head is a multiple of n_head_kv
  int64_t head_dim;              // of q and k, and of v and out but for value_dim; any size
  float scale;                   // usually 1 / sqrt(head_dim)
  int64_t window = 0;            // keys that a query sees at most, its own included; 0: all
  float softcap = 0;             // of the scaled scores; 0: none
  const float* sinks = nullptr;  // (n_head), of scores as softmax sees them; nullptr: none
  int64_t value_dim = 0;         // of v and out, where it is not head_dim
  int64_t v_dim() const { return value_dim > 0 ? value_dim : head_dim; }
};

// Bytes that a call needs for segments of at most n_kv keys: tiles per worker, and one head's keys and values
// as the products read them.
int64_t attention_scratch_bytes(const AttentionShape& shape, int64_t n_kv, bool backward, GemmInput input,
                                int n_workers);

// Rows of `out` and `lse` that no segment covers are left alone. scratch: 64-byte aligned; Error if too
// small. Without lse, as in generation, segments of few queries are computed one by one in f32.
void attention_forward(float* out,      // (n_tokens, n_head * v_dim)
                       float* lse,      // (n_tokens, n_head), or nullptr
                       const float* q,  // (n_tokens, n_head * head_dim)
                       const float* k,  // (n_kv_tokens, n_head_kv * head_dim)
                       const float* v,  // (n_kv_tokens, n_head_kv * v_dim)
                       std::span<const AttentionSegment> segments, const AttentionShape& shape,
                       GemmInput input, std::span<std::byte> scratch, ThreadPool& pool);

// Generation's form: keys and values as the cache holds them, matrices of a type that is decoded, each its
// own; only tiles of them are f32 at a time. With one key head v may be k: values are the first v_dim numbers
// of keys. Key j of a segment is row
// (kv_begin + j) mod n_rows: where all layers see all keys the rows never come round, and where they see a
// window the cache is a ring of the window and a batch, less one, to which position p is written at p mod
// n_rows. Error if a segment has more keys than there are rows, or if blocks do not divide a row.
void attention_forward(float* out,           // (n_tokens, n_head * v_dim)
                       const float* q,       // (n_tokens, n_head * head_dim)
                       const MatrixView& k,  // (n_rows, n_head_kv * head_dim)
                       const MatrixView& v,  // (n_rows, n_head_kv * v_dim), or k
                       std::span<const AttentionSegment> segments, const AttentionShape& shape,
                       GemmInput input, std::span<std::byte> scratch, ThreadPool& pool);

// Overwrites the rows of dq, dk and dv that segments cover; dq may be out, if v_dim is head_dim. Segments
// must not share key rows. The probabilities are computed again, tile by tile, from q, k and lse:
//
//   dv_j = sum_i p_ij dout_i,   ds_ij = p_ij (dout_i . v_j - dout_i . out_i)
//   dq_i = scale sum_j ds_ij k_j,   dk_j = scale sum_i ds_ij q_i
//
// With a softcap c, ds_ij is multiplied by 1 - tanh(s_ij / c)^2 as well. Sinks have no gradient: they are in
// lse.
void attention_backward(float* dq,          // (n_tokens, n_head * head_dim)
                        float* dk,          // (n_kv_tokens, n_head_kv * head_dim)
                        float* dv,          // (n_kv_tokens, n_head_kv * v_dim)
                        const float* dout,  // (n_tokens, n_head * v_dim)
                        const float* out,   // (n_tokens, n_head * v_dim), of the forward pass
                        const float* lse,   // (n_tokens, n_head), of the forward pass
                        const float* q, const float* k, const float* v,
                        std::span<const AttentionSegment> segments, const AttentionShape& shape,
                        GemmInput input, std::span<std::byte> scratch, ThreadPool& pool);

}  // namespace lora
