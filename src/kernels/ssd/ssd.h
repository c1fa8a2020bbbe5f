// State-space duality, the scan of Mamba-2 (Dao & Gu, "Transformers are SSMs", 2024), forward and backward.
// Each head has a state h (n_state, head_dim) and, of one sequence of tokens,
//
//   h_t = exp(dt_t a) h_{t-1} + dt_t B_t x_t^T        dt_t = softplus(dt'_t + bias)
//   y_t = h_t^T C_t + d x_t
//
// a <= 0, d and the bias are one number of each head; B and C are shared by the heads of a group: head h
// reads group h / (n_head / n_group). With s_t the sum of dt a up to t, from the beginning of a chunk of
// tokens,
//
//   y_t = sum over u <= t of (C_t . B_u) exp(s_t - s_u) dt_u x_u  +  exp(s_t) h^T C_t  +  d x_t
//
// where h is the state before the chunk: products of matrices, on the micro-kernels of gemm/ with f32 or bf16
// inputs and f32 sums; states and exponents are f32 and better. The backward pass computes the states at the
// borders of chunks again, for some heads at a time, and keeps nothing of the forward pass.
//
// Arrays are f32. Results do not depend on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/parallel.h"
#include "kernels/gemm/gemm.h"

namespace lora {

struct SsdShape {
  int64_t n_head, head_dim;  // n_head is a multiple of n_group
  int64_t n_group, n_state;
};

// What the scan reads. Rows of tokens lie `row` (of x, b and c) and `dt_row` numbers apart.
template <class T>
struct SsdInputOf {
  const T* x;  // (n_tokens, n_head * head_dim)
  const T* b;  // (n_tokens, n_group * n_state)
  const T* c;  // (n_tokens, n_group * n_state)
  int64_t row;
  const T* dt;  // (n_tokens, n_head), before the bias
  int64_t dt_row;
};
using SsdInput = SsdInputOf<float>;

// The gradients of that, in the same form.
template <class T>
struct SsdGradientOf {
  T *x, *b, *c;
  int64_t row;
  T* dt;
  int64_t dt_row;
};
using SsdGradient = SsdGradientOf<float>;

// Of each head. (n_head)
template <class T>
struct SsdHeadsOf {
  const T *a, *d, *dt_bias;
};
using SsdHeads = SsdHeadsOf<float>;

// Bytes that a call needs for a sequence of n_tokens.
int64_t ssd_scratch_bytes(const SsdShape& shape, int64_t n_tokens, bool backward, GemmInput input,
                          int n_workers);

// state (n_head, n_state, head_dim): in, before the first token; out, behind the last. nullptr: it begins
// with zeros, and is not wanted. A few tokens with a state, as in generation, go one by one in f32. scratch:
// 64-byte aligned; Error if too small.
void ssd_forward(float* y,  // (n_tokens, n_head * head_dim)
                 const SsdInput& in, const SsdHeads& heads, const SsdShape& shape, int64_t n_tokens,
                 float* state, GemmInput input, std::span<std::byte> scratch, ThreadPool& pool);

// Overwrites the gradients, of a sequence that began with a state of zeros. a, d and the bias have none.
// Arrays of `gradient` must not overlap those that are read.
void ssd_backward(const SsdGradient& gradient,
                  const float* dy,  // (n_tokens, n_head * head_dim)
                  const SsdInput& in, const SsdHeads& heads, const SsdShape& shape, int64_t n_tokens,
                  GemmInput input, std::span<std::byte> scratch, ThreadPool& pool);

}  // namespace lora
