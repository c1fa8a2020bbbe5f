// The one place where embedding, layers, norm and head follow one another, for training, losses and
// generation alike. What memory a pass takes is asked of the pass itself: measure() runs it dry.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "model/block.h"
#include "model/model.h"
#include "nn/embedding.h"

namespace lora {

struct Network {
  const Model& model;
  std::span<const Layer> layers;  // of the model's, one after the other
  std::span<const RopeTable> ropes;
  NnContext& nn;
  std::function<void()> before_stage = {};  // a layer or, in training, the head, up and down; may throw
  // Of a part of a network (model/part.h): what below its layers comes from elsewhere, and what is above them
  // computed there.
  bool has_embedding = true, has_head = true;
  bool passes_down = false;  // who gave what comes in wants its gradient

  int64_t n_embd() const { return model.config.n_embd; }
};

// A flat list of tokens; segments are causal and apart from one another.
struct NetworkTokens {
  std::span<const int32_t> ids;        // (n_tokens), in [0, n_vocab)
  std::span<const int32_t> positions;  // (n_tokens), as far as the rotary tables reach
  std::span<const AttentionSegment> segments;
};

// x (n_tokens, n_embd) := what the last layer gives; without an embedding it has what comes in. `past`: in
// generation that of each layer; else none.
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

// What of a pass outlives a layer, beside the stream: keys and values that layers share, and what went into
// the first layer where later ones read it.
struct Lasting {
  std::vector<SharedKv> shared = {};
  float* embedded = nullptr;   // (n_tokens, n_embd)
  float* dembedded = nullptr;  // its gradient, where the embedding is trained
};

// The same in its parts: up, head (of a network that has one) and down, each once. Others may come between
// them where the arena is its own. The network's context and what the tokens refer to must stay.
class GradientPass {
 public:
  // in: without an embedding, what comes in (n_tokens, n_embd), which must stay, too.
  GradientPass(const Network& network, const NetworkTokens& tokens, int64_t n_kept, float* in = nullptr);

  void up();
  // What the last layer gave (n_tokens, n_embd); before down() the gradient of that, afterwards of what came
  // in, where passes_down. head() makes the one of the other.
  float* stream() { return dx_; }
  void head(double* losses, std::span<const int32_t> targets, float scale);
  void down();

 private:
  void keep(int64_t i, float* y);
  bool is_kept(int64_t i) const;

  const Network network_;
  const NetworkTokens t_;
  const int64_t n_layer_, size_, n_kept_;
  const bool embedding_trained_;
  const int64_t first_;  // of those with a backward pass
  Lasting lasting_;
  Tokens tokens_ = {};
  std::vector<float*> inputs_;
  float *dx_ = nullptr, *first_again_ = nullptr;
  std::vector<LayerKept> kept_;
};

// Bytes of the arena that `pass` takes at most, of an `nn` that computes nothing.
// own: of an arena that shares what is above so many bytes.
int64_t measure(const std::function<void(NnContext& nn)>& pass, Arithmetic arithmetic, DotInput dot,
                int n_threads, int64_t own = 0);

}  // namespace lora
