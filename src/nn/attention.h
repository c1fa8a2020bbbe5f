// The body of a branch in which tokens look at those before them, forward and backward:
//
//   y = Wo attention(turn(Wq n), turn(Wk n), Wv n)
//
// turn: a norm of queries and keys where there is one, and the rotary embedding. Without norms, what Wq, Wk
// and Wv give may be clamped first. With an output gate, Wq gives a gate as long behind each head's query,
// and attention(...) is multiplied by its sigmoid (Qiu et al., "Gated Attention for Large Language Models",
// 2025). Values may have a norm, too, and without Wv they are what Wk gives, before its norm.
//
// Layers may share keys and values: one of them leaves its own, as scores are made of them, in
// Tokens::shared; those that read have neither Wk nor Wv, and add to the gradients there, which the writer's
// backward pass, the last to come, adds to its own.
#pragma once

#include <concepts>
#include <type_traits>

#include "nn/body.h"
#include "nn/linear.h"

namespace lora {

// What attention computes, besides its weights.
struct AttentionForm {
  AttentionShape shape;
  RopeStyle rope_style = RopeStyle::halves;
  int rope = 0;                  // which of Tokens::ropes; < 0: positions are not told
  bool norm_after_rope = false;  // of queries and keys
  float clamp = 0;               // queries, keys and values lie from -clamp to clamp; 0: anywhere
  // Queries at position p are multiplied by 1 + scale ln(floor(p / length) + 1).
  float temperature_scale = 0;
  int64_t temperature_length = 0;
  int kv_slot = -1;            // which of Tokens::shared it writes its keys and values to; < 0: none
  bool reads_kv_slot = false;  // or has those there in place of its own
  bool output_gate = false;    // Wq has twice the rows

  int64_t n_q() const { return shape.n_head * shape.head_dim; }
};

struct Attention {
  Linear q, k, v, o;
  Norm q_norm, k_norm;  // of each head or of the whole row, by their length
  AttentionForm form;
  Norm v_norm = {};

  bool has_k() const { return !form.reads_kv_slot; }
  // Where there is none, keys must have a norm of their own: what Wk gave is kept then.
  bool has_v() const { return v.n_out() > 0; }
  int64_t n_embd_kv() const { return form.shape.n_head_kv * form.shape.head_dim; }
};

// What the backward pass needs; out and gate are overwritten by it.
struct AttentionKept {
  Pass pass;
  float* q = nullptr;     // (n_tokens, n_head * head_dim), rotated; with a norm or clamped, as Wq gave it
  float* k = nullptr;     // (n_tokens, n_head_kv * head_dim), so too
  float* v = nullptr;     // (n_tokens, n_head_kv * head_dim); with a norm, as Wv gave it
  float* gate = nullptr;  // (n_tokens, n_head * head_dim), as Wq gave it; where there is one
  float* out = nullptr;   // (n_tokens, n_head * head_dim), before gate and Wo
  float* lse = nullptr;   // (n_tokens, n_head)
  float* xa_q = nullptr;
  float* xa_k = nullptr;
  float* xa_v = nullptr;
  float* xa_o = nullptr;
};

inline PastShape past_shape(const Attention& a) {
  if (!a.has_k()) return {};
  return {.n_k = a.n_embd_kv(), .n_v = a.n_embd_kv(), .window = a.form.shape.window};
}

AttentionKept take_kept(Arena& arena, const Attention& attention, int64_t n_tokens, Pass pass);

// As in nn/mlp.h.
void body_forward(float* y, bool add, const BodyInput& in, const Attention& attention,
                  const AttentionKept& kept, const Tokens& tokens, const Past* past, NnContext& nn);
void body_backward(float* dx, const float* dy, const BodyInput& in, const Attention& attention,
                   const AttentionKept& kept, const Tokens& tokens, NnContext& nn);

template <class A, class Visit>
requires std::same_as<std::remove_const_t<A>, Attention>
void for_each_linear(A& attention, const Visit& visit) {
  visit(attention.q, LinearRole::reads_input);
  if (attention.has_k()) visit(attention.k, LinearRole::reads_input);
  if (attention.has_v()) visit(attention.v, LinearRole::reads_input);
  visit(attention.o, LinearRole::writes_output);
}

}  // namespace lora
