// A decoder layer as a walk over its residual branches (arch/spec.h), forward and backward:
//
//   x += scale * after(sum of bodies(before(x)))      x *= stream_scale
//
// The backward pass needs each branch's input and what its bodies keep; norms are computed again. Whoever
// owns the memory decides whether that is kept between the passes or computed again from the layer's input:
// the same code runs, so the bits are the same. What is kept lies on the arena's stack in the order of
// computation and is given back in reverse: the memory of later bodies is the workspace of earlier ones.
#pragma once

#include <span>
#include <variant>
#include <vector>

#include "nn/attention.h"
#include "nn/delta_net.h"
#include "nn/experts.h"
#include "nn/latent_attention.h"
#include "nn/mamba2.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/per_layer_input.h"
#include "nn/short_conv.h"

namespace lora {

using Body =
    std::variant<Attention, LatentAttention, Mlp, Experts, PerLayerInput, ShortConv, Mamba2, DeltaNet>;

struct Branch {
  Norm before;
  std::vector<Body> bodies;
  Norm after;
  float scale = 1;
  Norm before_second;                 // none: the second body reads through `before`, too
  std::vector<Norm> after_each = {};  // of each body's output, or empty
  float stream_scale = 1;

  const Norm* after_body(size_t i) const {
    return i < after_each.size() && after_each[i] ? &after_each[i] : nullptr;
  }
  const Norm& before_body(size_t i) const { return i > 0 && before_second ? before_second : before; }
};

struct Layer {
  std::vector<Branch> branches;
};

// visit(Linear, LinearRole) in the order in which they compute.
template <class L, class Visit>
requires std::same_as<std::remove_const_t<L>, Layer>
void for_each_linear(L& layer, const Visit& visit) {
  for (auto& branch : layer.branches) {
    for (auto& body : branch.bodies) {
      std::visit([&](auto& b) { for_each_linear(b, visit); }, body);
    }
  }
}

// visit(MatrixView): all weights that a layer multiplies with.
template <class L, class Visit>
requires std::same_as<std::remove_const_t<L>, Layer>
void for_each_weight(L& layer, const Visit& visit) {
  for_each_linear(layer, [&](auto& linear, LinearRole) {
    if (!linear.adapters_only) visit(linear.w);
  });
  for (auto& branch : layer.branches) {
    for (auto& body : branch.bodies) {
      auto* latent = std::get_if<LatentAttention>(&body);
      if (!latent || !latent->is_apart()) continue;
      visit(latent->k_b.w);
      visit(latent->v_b.w);
    }
  }
}

// visit(Linear, LinearRole, share): the part of the tokens that meet it, less than 1 of experts.
template <class Visit>
void for_each_share(const Branch& branch, const Visit& visit) {
  for (const Body& body : branch.bodies) {
    const auto* experts = std::get_if<Experts>(&body);
    const double used = experts ? double(experts->form.n_used) / double(experts->form.n_expert) : 1;
    const auto each = [&](const Linear& linear, LinearRole role) {
      visit(linear, role, role == LinearRole::routes ? 1 : used);
    };
    std::visit([&](const auto& b) { for_each_linear(b, each); }, body);
  }
}

// visit(PastShape) of each body, in the order in which they compute; a layer's span of Past is in that order.
template <class Visit>
void for_each_past(const Layer& layer, const Visit& visit) {
  for (const Branch& branch : layer.branches) {
    for (const Body& body : branch.bodies) {
      visit(std::visit([](const auto& b) { return past_shape(b); }, body));
    }
  }
}

template <class Visit>
void for_each_attention(const Layer& layer, const Visit& visit) {
  for (const Branch& branch : layer.branches) {
    for (const Body& body : branch.bodies) {
      if (const auto* attention = std::get_if<Attention>(&body)) visit(*attention);
    }
  }
}

// Calls visit(Norm) for those that a gain can be trained of: before and after bodies.
template <class L, class Visit>
void for_each_norm(L& layer, const Visit& visit) {
  for (auto& branch : layer.branches) {
    const auto one = [&](auto& norm) {
      if (norm && !norm.tensor.empty()) visit(norm);
    };
    one(branch.before);
    one(branch.before_second);
    for (auto& norm : branch.after_each) one(norm);
    one(branch.after);
  }
}

using BodyKept = std::variant<AttentionKept, LatentKept, MlpKept, ExpertsKept, PerLayerInputKept,
                              ShortConvKept, Mamba2Kept, DeltaNetKept>;

struct BranchKept {
  Arena::Mark begin;  // what is above it is this branch's, and of those behind it
  const float* x;     // the branch's input
  std::vector<BodyKept> bodies;
  const float* sum = nullptr;        // of the bodies, where a norm reads it
  std::vector<float*> outputs = {};  // of each body, where a norm of its own reads it
};

struct LayerKept {
  std::vector<BranchKept> branches;
};

// y (n_tokens, n_embd) may be x. Nothing is kept. `past`: in generation one of each body; else none.
void layer_forward(float* y, const float* x, int64_t n_embd, const Layer& layer, const Tokens& tokens,
                   std::span<const Past> past, NnContext& nn);

// The same bits, and what the backward pass needs stays in the arena; x must stay, too. y may not be x, but
// nullptr: then only what is kept is computed.
LayerKept layer_forward_keeping(float* y, const float* x, int64_t n_embd, const Layer& layer,
                                const Tokens& tokens, NnContext& nn);

// dx (n_tokens, n_embd): in, the gradient of y; out, that of x (of no use, and less computed, if !needs_dx).
// Adapters' gradients are added to. Gives back what is kept.
void layer_backward(float* dx, int64_t n_embd, const Layer& layer, const LayerKept& kept,
                    const Tokens& tokens, bool needs_dx, NnContext& nn);

}  // namespace lora
