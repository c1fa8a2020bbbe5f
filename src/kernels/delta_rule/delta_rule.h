// The gated delta rule, forward and backward, in chunks (Yang, Kautz, Hatamizadeh, "Gated Delta Networks:
// Improving Mamba2 with Delta Rule", 2024; the chunks: Yang et al., "Parallelizing Linear Transformers with
// the Delta Rule over Sequence Length", 2024). Each value head has a state S (dim_k, dim_v), zero where a
// segment begins, which a token first lets decay and then corrects by what it misses of v:
//
//   S' = exp(g_t) S_{t-1},   S_t = S' + k_t (beta_t (v_t - S'^T k_t))^T,   out_t = S_t^T q_t
//
// where k_t is k / sqrt(k . k + eps) and q_t is scale q / sqrt(q . q + eps) of its key head.
//
// Within a chunk of kDeltaChunk tokens, with G_i the sum of g up to token i, D_ij = exp(G_i - G_j) for j <= i
// and S the state before it, rows y solve a triangular system and all else are products of matrices:
//
//   y_i = v_i - exp(G_i) S^T k_i - sum over j < i of D_ij (k_i . k_j) d_j,   d_j = beta_j y_j
//   out_i = exp(G_i) S^T q_i + sum over j <= i of D_ij (q_i . k_j) d_j
//   S_after = exp(G_last) S + sum over j of exp(G_last - G_j) k_j d_j^T
//
// No exponent is above 0 if g is not. All in f32: states add up over the whole context. Results do not depend
// on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/parallel.h"
#include "kernels/attention/attention.h"

namespace lora {

struct DeltaRuleShape {
  int64_t n_head_k, n_head_v;  // n_head_v is a multiple of n_head_k
  int64_t dim_k, dim_v;        // of a head; any sizes
  // Value head h reads key head h mod n_head_k, or else h / (n_head_v / n_head_k).
  bool in_turn = false;
  float scale = 1;    // of q, usually 1 / sqrt(dim_k)
  float eps = 1e-6f;  // in the norms of q and k

  int64_t group() const { return n_head_v / n_head_k; }
  // The i-th value head of a key head.
  int64_t value_head(int64_t head_k, int64_t i) const {
    return in_turn ? head_k + i * n_head_k : head_k * group() + i;
  }
  int64_t state_size() const { return dim_k * dim_v; }  // of one value head
};

// Rows of q, k and v lie `row` numbers apart.
template <class T>
struct DeltaRuleRows {
  const T* q;     // (n_tokens, n_head_k * dim_k)
  const T* k;     // (n_tokens, n_head_k * dim_k)
  const T* v;     // (n_tokens, n_head_v * dim_v)
  int64_t row;    // of each of these
  const T* g;     // (n_tokens, n_head_v), ln of the decay
  const T* beta;  // (n_tokens, n_head_v)
};
using DeltaRuleInput = DeltaRuleRows<float>;

inline constexpr int64_t kDeltaChunk = 64;
// The forward pass keeps a state every so many tokens of a segment; the backward pass computes those between
// again.
inline constexpr int64_t kDeltaSpan = 4 * kDeltaChunk;

// Numbers of what the forward pass keeps, however the tokens are cut into segments.
int64_t delta_rule_kept_size(const DeltaRuleShape& shape, int64_t n_tokens);

// Bytes that a call needs.
int64_t delta_rule_scratch_bytes(const DeltaRuleShape& shape, bool backward, int n_workers);

// out (n_tokens, n_head_v * dim_v). Only q_begin and n_q of a segment count. Rows that no segment covers are
// left alone. `kept`: nullptr where no backward pass follows. scratch: 64-byte aligned; Error if too small.
void delta_rule_forward(float* out, float* kept, const DeltaRuleInput& in,
                        std::span<const AttentionSegment> segments, const DeltaRuleShape& shape,
                        std::span<std::byte> scratch, ThreadPool& pool);

// Generation's form: n_tokens more of one text, whose states (n_head_v, dim_k, dim_v) become those behind
// them. A few tokens go one by one.
void delta_rule_append(float* out, float* states, const DeltaRuleInput& in, int64_t n_tokens,
                       const DeltaRuleShape& shape, std::span<std::byte> scratch, ThreadPool& pool);

// Rows of dq, dk and dv lie as those of the input, whose place they may take.
template <class T>
struct DeltaRuleGradients {
  T *dq, *dk, *dv;
  T* dg;     // (n_tokens, n_head_v)
  T* dbeta;  // (n_tokens, n_head_v)
};

// Overwrites the rows that segments cover. Those must not share rows. out, kept: of the forward pass.
void delta_rule_backward(const DeltaRuleGradients<float>& to, const float* dout, const float* out,
                         const float* kept, const DeltaRuleInput& in,
                         std::span<const AttentionSegment> segments, const DeltaRuleShape& shape,
                         std::span<std::byte> scratch, ThreadPool& pool);

}  // namespace lora
