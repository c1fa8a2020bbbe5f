// The whole model over a batch of tokens: the loss, and the gradients of the adapters.
//
// Memory is planned before, by running the step dry, and allocated once: each layer's input is kept (the
// first one's is looked up again); of the first `n_kept` layers the activations are kept too, the others
// share one set and are computed again in the backward pass (Chen et al., "Training Deep Nets with Sublinear
// Memory Cost", 2016). All this begins at the lowest layer that trains anything, where the backward pass
// ends. Every plan gives the same bits.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "kernels/attention/attention.h"
#include "model/model.h"
#include "model/network.h"
#include "model/part.h"
#include "model/weight_prefetch.h"

namespace lora {

// A flat list of tokens; segments are causal and apart from one another.
struct StepTokens {
  std::span<const int32_t> ids;        // (n_tokens), in [0, n_vocab)
  std::span<const int32_t> targets;    // (n_tokens), < 0: none
  std::span<const int32_t> positions;  // (n_tokens), in [0, n_positions)
  std::span<const AttentionSegment> segments;
};

struct StepPlan {
  int64_t n_tokens = 0;               // at most per call
  int64_t n_positions = 0;            // positions are below this
  NetworkPart part{};                 // that is computed
  int64_t n_below = 0;                // of these, the lowest, which nothing is trained in or below
  int64_t n_kept = 0;                 // layers whose activations are kept, from there on
  int64_t head_tokens = kHeadTokens;  // NnContext::head_tokens
  bool backward = true;               // false: losses only
  bool passes_down = false;           // the part below gets the gradient of what it gave
  // Bytes that weights may take of memory, where it does not hold all of them; nullopt: it does.
  std::optional<uint64_t> weight_room = {};
  int64_t flight_bytes = 0;  // that each batch in flight has by itself, a part of what follows
  // Bytes by part; the adapters and their optimizer are their owner's.
  int64_t input_bytes = 0;       // layers' inputs
  int64_t activation_bytes = 0;  // kept activations and the shared set
  int64_t workspace_bytes = 0;   // within a layer or the head
  int64_t other_bytes = 0;       // threads' scratch, rotary table

  bool goes_back() const { return part.has_head || n_backward() > 0; }
  // Layers that the backward pass goes through.
  int64_t n_backward() const { return part.layers.n - n_below; }
  int64_t arena_bytes() const { return input_bytes + activation_bytes + workspace_bytes; }
  int64_t total_bytes() const { return arena_bytes() + other_bytes; }
};

// Adapters must be attached to the model already: their ranks and places count. With `part`, only that is
// computed; one of some layers with embedding and head is for measuring.
StepPlan plan_step(const Model& model, int64_t n_tokens, int64_t n_positions, int64_t n_kept, bool backward,
                   Arithmetic arithmetic, int n_threads, const std::optional<NetworkPart>& part = {},
                   int64_t head_tokens = kHeadTokens);

// The plan that keeps most within the budget, at least the first n_least layers; the one that keeps no more
// than these if none fits, which the caller sees from its total_bytes().
StepPlan plan_step_within(uint64_t budget, const Model& model, int64_t n_tokens, int64_t n_positions,
                          int64_t n_least, Arithmetic arithmetic, int n_threads,
                          const std::optional<NetworkPart>& part = {});

// What a step that was asked to give up throws; the adapters' gradients are of no use then.
struct GivenUp {};

class Step {
 public:
  Step(const Model& model, const StepPlan& plan, Arithmetic arithmetic, ThreadPool& pool);

  // losses[t] = -ln p(target_t) in nats, 0 without target. Error for ids or positions out of range.
  void losses(double* losses, const StepTokens& tokens);

  // The same, and the gradients of scale * sum of losses are added to the trained adapters' (LoraView::da,
  // db). With a key, adapters that have a dropout drop their inputs by it. With noise, embeddings get it.
  void losses_and_gradients(double* losses, const StepTokens& tokens, float scale,
                            std::optional<uint64_t> random_key = {},
                            std::optional<EmbeddingNoise> noise = {});

  // The same in its parts, for a part of the network: of batch `flight` in [0, part.n_flight), others may
  // come in between. `in` (n_tokens, n_embd) is what the part below gave, nullptr with an embedding; it and
  // the tokens must stay until down(). up() returns what the part gives; before down() the gradient of that
  // must be in its place (which head() sees to, where there is one), and afterwards that of `in` is. It stays
  // until the flight's next batch.
  float* up(int64_t flight, const StepTokens& tokens, float* in, std::optional<uint64_t> random_key = {},
            std::optional<EmbeddingNoise> noise = {});
  void head(int64_t flight, double* losses, std::span<const int32_t> targets, float scale);
  void down(int64_t flight);
  // Forward alone. pass(): what the part gives; losses_of(): of the part with the head.
  float* pass(int64_t flight, const StepTokens& tokens, const float* in);
  void losses_of(int64_t flight, double* losses, const StepTokens& tokens, const float* in);

  // Asked before each layer, forward and backward, from now on: true throws GivenUp. A step of a large batch
  // takes minutes.
  void set_give_up(std::function<bool()> give_up) { give_up_ = std::move(give_up); }

  // From now on losses_and_gradients() adds its time to it; nullptr: no longer.
  void set_profile(Profile* profile) { nn_.profile = profile; }

  // From now on shown the input of every linear layer in every forward pass.
  void observe(LinearObserver observer) { nn_.observe = std::move(observer); }

  // Logits of every token. (n_tokens, n_vocab)
  void logits(float* logits, const StepTokens& tokens);

  // Bytes of the plan's arena_bytes() that were in use at once, so far.
  int64_t peak_bytes() const { return arena_.peak(); }

 private:
  // What a batch has while others are computed.
  struct Flight {
    Flight(const NnContext& of_step, int64_t own, Arena& shared)
        : arena(own, shared), nn{of_step.pool, of_step.input, of_step.scratch, arena} {
      nn.int8 = of_step.int8;
      nn.fine_gradients = of_step.fine_gradients;
      nn.head_tokens = of_step.head_tokens;
      nn.will_read = of_step.will_read;
    }
    Arena arena;
    NnContext nn;
    std::optional<GradientPass> pass = {};
  };

  const float* forward(const StepTokens& tokens);
  Network network(NnContext& nn, std::span<const int32_t> ids, Sweep sweep);
  void check(const StepTokens& tokens) const;
  void expect_wanted() const;

  const Model& model_;
  StepPlan plan_;
  std::vector<RopeTable> ropes_;
  Arena arena_;
  GemmScratch scratch_;
  NnContext nn_;
  std::function<bool()> give_up_;
  std::optional<WeightPrefetch> prefetch_;
  std::deque<Flight> flights_;
};

}  // namespace lora
