// The body of a branch in which tokens look at those before them through a narrow latent of each, forward and
// backward (DeepSeek-AI, "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language
// Model", 2024):
//
//   q = Wq norm(Wqa n)   or, without Wqa,   Wq n               per head: n_nope, then n_rope that are turned
//   (c', p) = Wkva n,   c = norm(c'),   p turned               kv_rank, and n_rope that all heads share
//   k_h = (Wkvb_h c, p),   v_h = the rest of Wkvb_h c          n_nope and v_dim rows of each head
//   y = Wo attention(q, k, v)
//
// Files have Wkvb as one matrix, or per head its first rows turned (attn_k_b) and the others (attn_v_b). An
// adapter is Wkvb's in both cases.
//
// Training makes keys and values of each head for as long as attention takes and again going back; what is
// kept is q, the latent and the output. Generation caches (c, p) alone: a head's key part goes into its
// query, q' = Wkvb_h^T q, and its value part behind the sum over latents, so that attention has one key head
// of kv_rank + n_rope, whose first kv_rank numbers are its values.
#pragma once

#include <concepts>
#include <type_traits>

#include "nn/body.h"
#include "nn/linear.h"

namespace lora {

struct LatentForm {
  int64_t n_head = 0, n_nope = 0, n_rope = 0, v_dim = 0, kv_rank = 0;
  float scale = 1;  // of scores
  RopeStyle rope_style = RopeStyle::interleaved;
  int rope = 0;  // which of Tokens::ropes

  int64_t key_dim() const { return n_nope + n_rope; }
  int64_t kv_dim() const { return n_nope + v_dim; }        // rows of Wkvb for each head
  int64_t latent_dim() const { return kv_rank + n_rope; }  // of a token in the cache
};

struct LatentAttention {
  Linear q_a;  // without rows: there is none
  Linear q;    // (n_head * key_dim, of q_a's outputs or n_embd)
  Linear kv_a;
  Linear kv_b;  // (n_head * kv_dim, kv_rank); adapters_only where k_b and v_b hold it
  Linear o;
  Norm q_norm, kv_norm;
  // Stacks of a matrix for each head, (kv_rank, n_nope) and (v_dim, kv_rank), one below the other; without
  // rows: kv_b holds it.
  Linear k_b, v_b;
  LatentForm form;

  bool has_q_a() const { return q_a.n_out() > 0; }
  bool is_apart() const { return k_b.n_out() > 0; }
};

// What the backward pass needs; q and q_a are overwritten by it.
struct LatentKept {
  Pass pass;
  float* q_a = nullptr;   // (n_tokens, q_a's outputs), before the norm
  float* q = nullptr;     // (n_tokens, n_head * key_dim), turned
  float* c = nullptr;     // (n_tokens, kv_rank), before the norm
  float* k_pe = nullptr;  // (n_tokens, n_rope), turned
  float* out = nullptr;   // (n_tokens, n_head * v_dim), before Wo
  float* lse = nullptr;   // (n_tokens, n_head)
  float* xa_q_a = nullptr;
  float* xa_q = nullptr;
  float* xa_kv_a = nullptr;
  float* xa_o = nullptr;
};

// A key for each token, (c, p), and no value.
inline PastShape past_shape(const LatentAttention& attention) {
  return {.n_k = attention.form.latent_dim()};
}

LatentKept take_kept(Arena& arena, const LatentAttention& attention, int64_t n_tokens, Pass pass);

// As in nn/attention.h.
void body_forward(float* y, bool add, const BodyInput& in, const LatentAttention& attention,
                  const LatentKept& kept, const Tokens& tokens, const Past* past, NnContext& nn);
void body_backward(float* dx, const float* dy, const BodyInput& in, const LatentAttention& attention,
                   const LatentKept& kept, const Tokens& tokens, NnContext& nn);

template <class A, class Visit>
requires std::same_as<std::remove_const_t<A>, LatentAttention>
void for_each_linear(A& attention, const Visit& visit) {
  if (attention.has_q_a()) visit(attention.q_a, LinearRole::reads_input);
  visit(attention.q, attention.has_q_a() ? LinearRole::within : LinearRole::reads_input);
  visit(attention.kv_a, LinearRole::reads_input);
  visit(attention.kv_b, LinearRole::within);
  visit(attention.o, LinearRole::writes_output);
}

}  // namespace lora
