// The body of a branch that tells a layer once more which token it has (Gemma 3n, Gemma 4), forward and
// backward:
//
//   y = Wproj (activation(Wgate n) * p)
//   p = (norm(Wmodel x0 / sqrt(n_embd)) + sqrt(n_ple) e) / sqrt(2)
//
// x0 is what the embedding gave, e the columns of this layer in a second table of embeddings, looked up by
// the token. That table, the largest tensor of such models, stays in the mapped file as it is, like Wmodel,
// of which this layer has its own rows; neither is trained.
#pragma once

#include <concepts>
#include <type_traits>

#include "kernels/activation/activation.h"
#include "nn/body.h"
#include "nn/linear.h"

namespace lora {

struct PerLayerInput {
  Linear gate, proj;   // (n_ple, n_embd), (n_embd, n_ple)
  Linear model;        // Wmodel: (n_ple, n_embd)
  Norm norm;           // of n_ple
  MatrixView table;    // (n_vocab, n_layer * n_ple)
  int64_t column = 0;  // of the table, where this layer's begin
  Activation activation = Activation::gelu_tanh;
};

// What the backward pass needs; gate and p are overwritten by it.
struct PerLayerInputKept {
  float* gate = nullptr;  // (n_tokens, n_ple)
  float* p = nullptr;     // (n_tokens, n_ple)
  float* xa_gate = nullptr;
  float* xa_proj = nullptr;
};

inline PastShape past_shape(const PerLayerInput&) {
  return {};
}

PerLayerInputKept take_kept(Arena& arena, const PerLayerInput& input, int64_t n_tokens, Pass pass);

// As in nn/mlp.h; reads Tokens::ids and embedded. Where Tokens::dembedded is there, the gradient that goes to
// the embedding by way of p is added to it.
void body_forward(float* y, bool add, const BodyInput& in, const PerLayerInput& input,
                  const PerLayerInputKept& kept, const Tokens& tokens, const Past* past, NnContext& nn);
void body_backward(float* dx, const float* dy, const BodyInput& in, const PerLayerInput& input,
                   const PerLayerInputKept& kept, const Tokens& tokens, NnContext& nn);

template <class P, class Visit>
requires std::same_as<std::remove_const_t<P>, PerLayerInput>
void for_each_linear(P& input, const Visit& visit) {
  visit(input.gate, LinearRole::reads_input);
  visit(input.proj, LinearRole::writes_output);
}

}  // namespace lora
