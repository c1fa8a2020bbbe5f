// What the bodies of a residual branch (attention, MLP) have in common: the tokens of a call, and what they
// read.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention/attention.h"
#include "kernels/rope/rope.h"
#include "nn/context.h"
#include "nn/norm.h"

namespace lora {

// What a body needs of the tokens before, in generation: past_shape(body) says it.
struct PastShape {
  int64_t n_k = 0, n_v = 0;  // of each token, its keys and values
  int64_t window = 0;        // tokens back that are looked at, the newest included; 0: all
  int64_t n_state = 0;  // f32 numbers that all tokens so far have come to, of a body that reads them in turn
};

// That of n_past tokens, which the call reads, and to which it adds its own tokens, all of one segment.
struct Past {
  int64_t n_past = 0;
  // Keys and values, in any type (kernels/attention/cache.h).
  MatrixView k, v;                                 // (n_rows, PastShape::n_k), (n_rows, n_v)
  std::byte *k_data = nullptr, *v_data = nullptr;  // theirs, to write to
  float* state = nullptr;                          // (n_state), zeros before the first token
};

// Keys and values that several layers attend to, as scores are made of them: one writes them, and those that
// read them come after it.
struct SharedKv {
  float *k = nullptr, *v = nullptr;    // (n_tokens, n_head_kv * head_dim)
  float *dk = nullptr, *dv = nullptr;  // gradients from those that read; nullptr: nobody needs them
  const Past* past = nullptr;          // in generation the writer's, in place of all these
};

// What the tokens of a call are and where they stand. Segments index rows of this call's q, and of its k and
// v.
struct Tokens {
  int64_t n_tokens;
  const int32_t* positions;  // (n_tokens)
  std::span<const AttentionSegment> segments;
  std::span<const RopeTable> ropes;
  std::span<SharedKv> shared = {};  // by AttentionForm::kv_slot
  // Of models whose layers look tokens up (nn/per_layer_input.h):
  const int32_t* ids = nullptr;     // (n_tokens)
  const float* embedded = nullptr;  // (n_tokens, n_embd), what went into the first layer
  float* dembedded = nullptr;       // its gradient is added to; nullptr: nobody needs it
};

// What a body's arrays are taken for: generation has keys and values in the cache; losses alone need nothing
// of the forward pass afterwards; gradients do.
enum class Pass { generation, losses, gradients };

// What of a body's linear layers reads the branch's input, what stands between others, what writes to the
// residual stream, and what chooses experts.
enum class LinearRole { reads_input, within, writes_output, routes };

// What a body reads: the residual stream through a norm. Norms are cheap: forward and backward pass compute
// them anew where they need them, and the memory is free again at the end of a scope.
class BodyInput {
 public:
  BodyInput(const float* x, const Norm& norm, int64_t n_tokens, int64_t n_embd)
      : x_(x), norm_(norm), n_tokens_(n_tokens), n_embd_(n_embd) {}

  // The same stream through another norm.
  BodyInput through(const Norm& norm) const { return {x_, norm, n_tokens_, n_embd_}; }

  // (n_tokens, n_embd), in the arena or x itself.
  const float* normed(NnContext& nn) const;

  // Where the gradient of what normed() returned may go: its own memory, or new one where that is x.
  float* gradient_place(const float* normed, NnContext& nn) const;

  // Whether the gradient of what is read is needed by anyone: for dx, or for a trained gain.
  bool wants_gradient(const float* dx) const { return dx || norm_.gradient; }

  // dx += that of x, from that of normed(). dx may be nullptr.
  void add_gradient(float* dx, const float* dnormed, NnContext& nn) const;

 private:
  const float* x_;
  const Norm& norm_;
  int64_t n_tokens_, n_embd_;
};

}  // namespace lora
