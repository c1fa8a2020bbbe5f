// The body of a branch whose heads each have a state of fixed size, which the gated delta rule corrects token
// by token (kernels/delta_rule; Yang, Kautz, Hatamizadeh, "Gated Delta Networks", 2024), forward and
// backward:
//
//   q, k, v = silu(conv(Wqkv n)),   z = Wz n,   beta = sigmoid(Wbeta n),   g = a softplus(Walpha n + dt_bias)
//   y = Wo (norm(delta rule(q, k, v, g, beta)) * silu(z))
//
// The convolution is causal, of each channel by itself (kernels/conv), the norm of each value head.
#pragma once

#include <concepts>
#include <type_traits>

#include "kernels/delta_rule/delta_rule.h"
#include "nn/body.h"
#include "nn/linear.h"

namespace lora {

// What a delta net computes, besides its weights.
struct DeltaNetForm {
  DeltaRuleShape shape;
  int64_t d_conv = 0;  // taps of the convolution
  int64_t n_qkv() const { return 2 * shape.n_head_k * shape.dim_k + n_v(); }
  int64_t n_v() const { return shape.n_head_v * shape.dim_v; }
  int64_t n_gates() const { return shape.n_head_v; }
};

struct DeltaNet {
  Linear qkv, z;
  // alpha without rows: beta has both, of each key head's value heads first beta, then alpha.
  Linear beta, alpha;
  Linear o;
  Norm norm;                       // of a value head
  const float* conv = nullptr;     // (n_qkv, d_conv)
  const float* a = nullptr;        // (n_head_v), not above 0
  const float* dt_bias = nullptr;  // (n_head_v)
  DeltaNetForm form;
  bool has_alpha() const { return alpha.n_out() > 0; }
};

// What the backward pass needs; all but qkv and states are overwritten by it.
struct DeltaNetKept {
  float* qkv = nullptr;     // (n_tokens, n_qkv), as Wqkv gave it
  float* z = nullptr;       // (n_tokens, n_v)
  float* beta = nullptr;    // (n_tokens, n_head_v), as Wbeta gave it; with alpha in it twice as wide
  float* alpha = nullptr;   // (n_tokens, n_head_v)
  float* out = nullptr;     // (n_tokens, n_v), of the delta rule
  float* states = nullptr;  // as delta_rule_forward() keeps them
  float* xa_qkv = nullptr;
  float* xa_z = nullptr;
  float* xa_beta = nullptr;
  float* xa_alpha = nullptr;
  float* xa_o = nullptr;
};

// The last inputs of the convolution, then the states of the value heads.
inline PastShape past_shape(const DeltaNet& d) {
  const DeltaRuleShape& s = d.form.shape;
  return {.n_state = (d.form.d_conv - 1) * d.form.n_qkv() + s.n_head_v * s.state_size()};
}

DeltaNetKept take_kept(Arena& arena, const DeltaNet& delta, int64_t n_tokens, Pass pass);

// As in nn/mlp.h.
void body_forward(float* y, bool add, const BodyInput& in, const DeltaNet& delta, const DeltaNetKept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn);
void body_backward(float* dx, const float* dy, const BodyInput& in, const DeltaNet& delta,
                   const DeltaNetKept& kept, const Tokens& tokens, NnContext& nn);

template <class D, class Visit>
requires std::same_as<std::remove_const_t<D>, DeltaNet>
void for_each_linear(D& delta, const Visit& visit) {
  visit(delta.qkv, LinearRole::reads_input);
  visit(delta.z, LinearRole::reads_input);
  visit(delta.beta, LinearRole::reads_input);
  if (delta.has_alpha()) visit(delta.alpha, LinearRole::reads_input);
  visit(delta.o, LinearRole::writes_output);
}

}  // namespace lora
