// The one place where embedding, layers, norm and head follow one another, for training, losses and
// generation alike. What memory a pass takes is asked of the pass itself: measure() runs it dry.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/block.h"
#include "model/model.h"

namespace lora {

struct Network {
  const Model& model;
  std::span<const Layer> layers;  // of the model's, one after the other
  std::span<const RopeTable> ropes;
  NnContext& nn;
  std::function<void()> before_stage = {};  // a layer or, in training, the head, up and down; may throw

  int64_t n_embd() const { return model.config.n_embd; }
};

// A flat list of tokens; segments are causal and apart from one another.
struct NetworkTokens {
  std::span<const int32_t> ids;        // (n_tokens), in [0, n_vocab)
  std::span<const int32_t> positions;  // (n_tokens), as far as the rotary tables reach
  std::span<const AttentionSegment> segments;
};

// x (n_tokens, n_embd) := what the last layer gives. `past`: in generation that of each layer; else none.
using LayerPast = std::vector<Past>;
void network_forward(float* x, const Network& network, const NetworkTokens& tokens,
                     std::span<const LayerPast> past);

// out (n_tokens, n_embd) = what the head reads of x, rows [0, n). out may be x.
void network_norm(float* out, const float* x, int64_t n, const Network& network);

// How many of these layers, from the lowest, the backward pass does not reach: nothing is trained in or below
// them.
int64_t layers_below(const Model& model, std::span<const Layer> layers);

// losses[t] = -ln p(target_t) in nats, 0 where target_t < 0; the gradients of scale * sum of losses are added
// to the trained adapters'. Of the first n_kept layers that the backward pass reaches the activations are
// kept, the others share memory.
void network_gradients(double* losses, const Network& network, const NetworkTokens& tokens,
                       std::span<const int32_t> targets, int64_t n_kept, float scale);

// Bytes of the arena that `pass` takes at most, of an `nn` that computes nothing.
int64_t measure(const std::function<void(NnContext& nn)>& pass, Arithmetic arithmetic, DotInput dot,
                int n_threads);

}  // namespace lora
