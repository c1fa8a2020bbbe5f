// The body of a branch that is many MLPs, of which a router chooses a few for each token, forward and
// backward:
//
//   y = sum over chosen experts e of  Wdown_e (w_e p_e) + w_e b_e,   p_e = activation(Wgate_e n) * Wup_e n
//
// The weight goes in before Wdown: with g = Wdown^T dy,  dw_e = g . p_e + dy . b_e  and  dp_e = w_e g, and
// nothing is divided by w. The choice that the forward pass made is kept for the backward pass.
//
// An expert's tokens are side by side (nn/router.h); experts go through in chunks of about as many rows as
// there are tokens, all of a chunk in the same parallel loops: memory is that of a dense MLP of the active
// width, however many experts there are. A token's sums go over its experts in their order.
#pragma once

#include <concepts>
#include <type_traits>
#include <vector>

#include "nn/mlp.h"
#include "nn/router.h"

namespace lora {

struct Experts {
  Linear router;
  const float* choice_bias = nullptr;   // (n_expert), or none
  std::vector<Mlp> experts;             // of one shape
  std::vector<const float*> down_bias;  // of each, (n_embd); empty: none
  RouterForm form;
  Norm router_norm = {};  // through which the router reads the stream; none: through the experts'
  const float* expert_scale = nullptr;  // (n_expert), factors on weights, or none
};

// What the backward pass needs; gate and up are overwritten by it. Rows are those of the routing.
struct ExpertsKept {
  Routing routing{};
  float* gate = nullptr;  // (n_rows, n_ff)
  float* up = nullptr;    // (n_rows, n_ff)
  float* xa_router = nullptr;
  float* xa_gate = nullptr;  // of each expert, behind those of the experts before it
  float* xa_up = nullptr;
  float* xa_down = nullptr;
};

inline PastShape past_shape(const Experts&) {
  return {};
}

ExpertsKept take_kept(Arena& arena, const Experts& experts, int64_t n_tokens, Pass pass);

// As in nn/mlp.h.
void body_forward(float* y, bool add, const BodyInput& in, const Experts& experts, const ExpertsKept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn);
void body_backward(float* dx, const float* dy, const BodyInput& in, const Experts& experts,
                   const ExpertsKept& kept, const Tokens& tokens, NnContext& nn);

template <class E, class Visit>
requires std::same_as<std::remove_const_t<E>, Experts>
void for_each_linear(E& experts, const Visit& visit) {
  visit(experts.router, LinearRole::routes);
  for (auto& expert : experts.experts) for_each_linear(expert, visit);
}

}  // namespace lora
