// One decoder block, forward and backward.
//
//   h = x + Wo attention(rope(Wq n), rope(Wk n), Wv n),   n  = rms_norm(x)
//   y = h + Wdown (silu(Wgate n') * Wup n'),              n' = rms_norm(h)
//
// The backward pass needs x and the activations below; norms and the MLP's product are cheap and
// computed again. Whoever owns the memory decides whether activations are kept between the passes or
// computed again from x: the same code runs, so the bits are the same.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention/attention.h"
#include "kernels/rope/rope.h"
#include "model/model.h"
#include "nn/context.h"

namespace lora {

// Where the tokens of a call stand. Segments index rows of this call's q, and of its k and v.
struct BlockTokens {
  int64_t n_tokens;
  const int32_t* positions;  // (n_tokens)
  std::span<const AttentionSegment> segments;
  const RopeTable& rope;
};

struct BlockActivations {
  float* q = nullptr;     // (n_tokens, n_embd_q), rotated
  float* k = nullptr;     // (n_tokens, n_embd_kv), rotated
  float* v = nullptr;     // (n_tokens, n_embd_kv)
  float* attn = nullptr;  // (n_tokens, n_embd_q), before Wo
  float* lse = nullptr;   // (n_tokens, n_head)
  float* h = nullptr;     // (n_tokens, n_embd)
  float* gate = nullptr;  // (n_tokens, n_ff)
  float* up = nullptr;    // (n_tokens, n_ff)
  float* xa[7] = {};      // x A^T of the adapters, in the order of linear_rows()
};

// Keys and values of the past and of this call, for generation: rows [0, n_past) are there already, the
// call writes rows [n_past, n_past + n_tokens) and attends to all.
struct KvRows {
  float* k;  // (n_ctx, n_embd_kv)
  float* v;  // (n_ctx, n_embd_kv)
  int64_t n_past;
};

BlockActivations take_block_activations(Arena& arena, const Model& model, const Layer& layer,
                                        int64_t n_tokens);
int64_t block_activation_bytes(const Model& model, const Layer& layer, int64_t n_tokens);

// y (n_tokens, n_embd) may be x, or nullptr: then only the activations are computed. With `cache`,
// activations.k and .v are not used.
void block_forward(float* y, const float* x, const Model& model, const Layer& layer,
                   const BlockActivations& activations, const BlockTokens& tokens, const KvRows* cache,
                   NnContext& nn);

// dx (n_tokens, n_embd): in, the gradient of y; out, that of x (left as it is, and less computed, if
// !needs_dx). Adapters' gradients are added to. Overwrites activations.attn, .gate and .up.
void block_backward(float* dx, const float* x, const Model& model, const Layer& layer,
                    const BlockActivations& activations, const BlockTokens& tokens, bool needs_dx,
                    NnContext& nn);

// Arena bytes that the forward pass, or either, takes at most, activations not counted. Segments have at most
// n_kv keys.
int64_t block_workspace_bytes(const Model& model, const Layer& layer, int64_t n_tokens, int64_t n_kv,
                              bool backward, GemmInput input, int n_threads);

}  // namespace lora
