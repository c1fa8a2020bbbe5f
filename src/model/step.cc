#include "model/step.h"

#include <algorithm>

#include "base/error.h"
#include "base/lost_pages.h"
#include "kernels/rmsnorm/rmsnorm.h"
#include "nn/embedding.h"
#include "nn/head.h"

namespace lora {
namespace {

int64_t rope_bytes(const Model& model, int64_t n_positions) {
  return 2 * Arena::size_of<float>(n_positions * model.config.rope.n_rot / 2);
}

}  // namespace

StepPlan plan_step(const Model& model, int64_t n_tokens, int64_t n_positions, int64_t n_kept, bool backward,
                   GemmInput input, int n_threads, std::optional<int64_t> first_layers) {
  const int64_t n_layer = first_layers.value_or(model.config.n_layer);
  const int64_t stream = Arena::size_of<float>(n_tokens * model.config.n_embd);
  StepPlan plan{n_tokens, n_positions, n_layer, backward ? std::clamp<int64_t>(n_kept, 0, n_layer) : 0,
                backward};
  plan.input_bytes = stream * (backward ? std::max<int64_t>(n_layer, 2) : 1);
  int64_t shared = 0, block = 0;
  for (int64_t i = 0; i < n_layer; ++i) {
    const Layer& layer = model.layers[size_t(i)];
    const int64_t activations = block_activation_bytes(model, layer, n_tokens);
    if (i < plan.n_kept) {
      plan.activation_bytes += activations;
    } else {
      shared = std::max(shared, activations);
    }
    block = std::max(block, block_workspace_bytes(model, layer, n_tokens, std::min(n_tokens, n_positions),
                                                  backward, input, n_threads));
  }
  plan.activation_bytes += shared;
  // The head has the normed output beside its workspace.
  plan.workspace_bytes = std::max({block, stream + head_workspace_bytes(model.output, input),
                                   embedding_workspace_bytes(model.embedding, n_tokens)});
  plan.other_bytes = GemmScratch::bytes_per_worker() * n_threads + rope_bytes(model, n_positions);
  return plan;
}

StepPlan plan_step_within(uint64_t budget, const Model& model, int64_t n_tokens, int64_t n_positions,
                          GemmInput input, int n_threads) {
  for (int64_t n_kept = model.config.n_layer;; --n_kept) {
    const StepPlan plan = plan_step(model, n_tokens, n_positions, n_kept, true, input, n_threads);
    if (uint64_t(plan.total_bytes()) <= budget || n_kept == 0) return plan;
  }
}

Step::Step(const Model& model, const StepPlan& plan, GemmInput input, ThreadPool& pool)
    : model_(model),
      plan_(plan),
      layers_(std::span(model.layers).first(size_t(plan.n_layer))),
      rope_(make_rope_table(model.config.rope, plan.n_positions)),
      arena_(plan.arena_bytes()),
      scratch_(pool.size()),
      nn_{pool, input, scratch_, arena_} {}

void Step::check(const StepTokens& tokens) const {
  if (int64_t(tokens.ids.size()) > plan_.n_tokens) {
    fail("step: {} tokens, planned for {}", tokens.ids.size(), plan_.n_tokens);
  }
  for (int32_t id : tokens.ids) {
    if (id < 0 || id >= model_.config.n_vocab)
      fail("token {}: not in a vocabulary of {}", id, model_.config.n_vocab);
  }
  for (int32_t target : tokens.targets) {
    if (target >= model_.config.n_vocab)
      fail("target {}: not in a vocabulary of {}", target, model_.config.n_vocab);
  }
  for (int32_t position : tokens.positions) {
    if (position < 0 || position >= plan_.n_positions) {
      fail("position {}: not below {}", position, plan_.n_positions);
    }
  }
}

void Step::expect_wanted() const {
  expect_no_lost_pages();
  if (give_up_ && give_up_()) throw GivenUp();
}

// Runs all layers in place over one stream and returns the normed output, in the arena.
const float* Step::forward(const StepTokens& tokens, float* x) {
  nn_.dropout_key.reset();  // nothing is dropped but in training
  const ModelConfig& c = model_.config;
  const int64_t n = int64_t(tokens.ids.size());
  const BlockTokens block{n, tokens.positions.data(), tokens.segments, rope_};
  embedding_forward(x, model_.embedding, tokens.ids, nn_.pool);
  for (const Layer& layer : layers_) {
    expect_wanted();
    const ArenaScope scope(arena_);
    const BlockActivations activations = take_block_activations(arena_, model_, layer, n);
    block_forward(x, x, model_, layer, activations, block, nullptr, nn_);
  }
  float* norm = arena_.take<float>(n * c.n_embd);
  norm_forward(norm, x, model_.output_norm, c.rms_norm_eps, n, nn_.pool);
  return norm;
}

void Step::losses(double* losses, const StepTokens& tokens) {
  check(tokens);
  const ArenaScope scope(arena_);
  const float* norm = forward(tokens, arena_.take<float>(int64_t(tokens.ids.size()) * model_.config.n_embd));
  head_loss_forward(losses, model_.output, norm, tokens.targets, nn_);
  expect_no_lost_pages();
}

void Step::logits(float* logits, const StepTokens& tokens) {
  check(tokens);
  const ArenaScope scope(arena_);
  const int64_t n = int64_t(tokens.ids.size()), n_embd = model_.config.n_embd;
  const float* norm = forward(tokens, arena_.take<float>(n * n_embd));
  for (int64_t t = 0; t < n; t += kHeadTokens) {
    const LinearOutput out = {&model_.output, logits + t * model_.config.n_vocab};
    linear_forward({&out, 1}, norm + t * n_embd, std::min(kHeadTokens, n - t), nn_);
  }
  expect_no_lost_pages();
}

void Step::losses_and_gradients(double* losses, const StepTokens& tokens, float scale,
                                std::optional<uint64_t> dropout_key) {
  check(tokens);
  if (!plan_.backward) fail("step: planned without a backward pass");
  nn_.dropout_key = dropout_key;
  const ProfileScope part(nn_.profile, Part::elementwise);
  const ArenaScope scope(arena_);
  const ModelConfig& c = model_.config;
  const int64_t n = int64_t(tokens.ids.size()), n_layer = plan_.n_layer;
  const BlockTokens block{n, tokens.positions.data(), tokens.segments, rope_};

  // Of each layer, and the last one's output. The first one's is not kept: it lies where that output will,
  // and is looked up again in the place of the second one's.
  std::vector<float*> inputs(size_t(n_layer) + 1);
  for (int64_t i = 1; i <= n_layer; ++i) inputs[size_t(i)] = arena_.take<float>(n * c.n_embd);
  float* dx = inputs[size_t(n_layer)];  // the head's backward pass turns its input into its gradient
  float* first_again = n_layer > 1 ? inputs[1] : arena_.take<float>(n * c.n_embd);
  inputs[0] = dx;
  std::vector<BlockActivations> kept;
  for (int64_t i = 0; i < plan_.n_kept; ++i) {
    kept.push_back(take_block_activations(arena_, model_, layers_[size_t(i)], n));
  }
  // Layers that are not kept use the same bytes in turn, each with its own adapters' ranks.
  const auto activations = [&](int64_t i) {
    return i < plan_.n_kept ? kept[size_t(i)] : take_block_activations(arena_, model_, layers_[size_t(i)], n);
  };
  const auto block_at = [&](int64_t i, float* y, const BlockActivations& set) {
    block_forward(y, inputs[size_t(i)], model_, layers_[size_t(i)], set, block, nullptr, nn_);
  };

  embedding_forward(inputs[0], model_.embedding, tokens.ids, nn_.pool);
  for (int64_t i = 0; i < n_layer; ++i) {
    expect_wanted();
    const ArenaScope layer_scope(arena_);
    block_at(i, inputs[size_t(i) + 1], activations(i));
  }
  bool embedding_trained = false;
  for (const LoraView& lora : model_.embedding.loras) embedding_trained |= lora.da != nullptr;
  for (int64_t i = n_layer - 1; i >= 0; --i) {
    expect_wanted();
    const ArenaScope layer_scope(arena_);
    const BlockActivations set = activations(i);
    if (i == 0) {
      inputs[0] = first_again;
      embedding_forward(inputs[0], model_.embedding, tokens.ids, nn_.pool);
    }
    if (i == n_layer - 1) {
      head_backward(dx, losses, tokens.targets, scale);  // this layer's set is still there
    } else if (i >= plan_.n_kept) {
      block_at(i, nullptr, set);
    }
    block_backward(dx, inputs[size_t(i)], model_, layers_[size_t(i)], set, block, i > 0 || embedding_trained,
                   nn_);
  }
  if (embedding_trained) embedding_backward(model_.embedding, dx, tokens.ids, nn_);
  expect_no_lost_pages();
}

// Loss of the last layer's output x, which its gradient replaces.
void Step::head_backward(float* x, double* losses, std::span<const int32_t> targets, float scale) {
  const ArenaScope scope(arena_);
  const ModelConfig& c = model_.config;
  const int64_t n = int64_t(targets.size());
  float* norm = arena_.take<float>(n * c.n_embd);
  norm_forward(norm, x, model_.output_norm, c.rms_norm_eps, n, nn_.pool);
  head_loss_backward(norm, losses, model_.output, norm, targets, scale, nn_);
  norm_backward(x, norm, x, model_.output_norm, c.rms_norm_eps, n, false, nn_.pool);
}

}  // namespace lora
