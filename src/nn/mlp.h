// The body of a branch that works on each token alone, forward and backward:
//
//   y = Wdown (activation(Wgate n) * Wup n)       or, without a gate,   y = Wdown activation(Wup n)
#pragma once

#include <concepts>
#include <type_traits>

#include "kernels/activation/activation.h"
#include "nn/body.h"
#include "nn/linear.h"

namespace lora {

struct Mlp {
  Linear gate, up, down;  // gate without rows: there is none
  Activation activation = Activation::silu;
  bool has_gate() const { return gate.n_out() > 0; }
};

// What the backward pass needs; gate and up are overwritten by it.
struct MlpKept {
  float* gate = nullptr;  // (n_tokens, n_ff)
  float* up = nullptr;    // (n_tokens, n_ff)
  float* xa_gate = nullptr;
  float* xa_up = nullptr;
  float* xa_down = nullptr;
};

inline PastShape past_shape(const Mlp&) {
  return {};
}

MlpKept take_kept(Arena& arena, const Mlp& mlp, int64_t n_tokens, Pass pass);

// y (n_tokens, n_embd) = or, with add, += the body of `in`. Without y only what is kept is computed. `past`:
// in generation; else nullptr.
void body_forward(float* y, bool add, const BodyInput& in, const Mlp& mlp, const MlpKept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn);

// dx (n_tokens, n_embd) += the gradient of the residual stream, from dy, that of y; nothing if dx is nullptr.
// dx may be dy. Adapters' gradients are added to.
void body_backward(float* dx, const float* dy, const BodyInput& in, const Mlp& mlp, const MlpKept& kept,
                   const Tokens& tokens, NnContext& nn);

// visit(Linear, LinearRole) in the order in which they compute. M: Mlp or const Mlp.
template <class M, class Visit>
requires std::same_as<std::remove_const_t<M>, Mlp>
void for_each_linear(M& mlp, const Visit& visit) {
  if (mlp.has_gate()) visit(mlp.gate, LinearRole::reads_input);
  visit(mlp.up, LinearRole::reads_input);
  visit(mlp.down, LinearRole::writes_output);
}

}  // namespace lora
