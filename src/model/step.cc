#include "model/step.h"

#include <algorithm>

#include "base/error.h"
#include "base/lost_pages.h"
#include "kernels/dot/dot.h"

namespace lora {
namespace {

// What goes through the layers and the head when nothing but losses is wanted.
const float* forward_pass(const Network& network, const NetworkTokens& tokens) {
  const int64_t n = int64_t(tokens.ids.size());
  float* x = network.nn.arena.take<float>(n * network.n_embd());
  network_forward(x, network, tokens, {});
  network_norm(x, x, n, network);
  return x;
}

std::span<const Layer> layers_of(const Model& model, const LayerRange& range) {
  return std::span(model.layers).subspan(size_t(range.begin), size_t(range.n));
}

// Bytes of a step of n tokens, all with a target, in segments that are as long as can be. However many tokens
// are asked for, nothing of their number exists: a dry run does not look at them.
int64_t pass_bytes(const Model& model, const StepPlan& plan, int64_t n, std::optional<uint64_t> random_key,
                   Arithmetic arithmetic, int n_threads) {
  const int32_t token = 0;
  const std::span<const int32_t> ids(&token, size_t(n));
  const int64_t longest = std::min(n, plan.n_positions);
  const AttentionSegment segment{0, longest, 0, longest};
  const NetworkTokens tokens{ids, ids, {&segment, 1}};
  const std::vector<RopeTable> ropes(2);  // their memory is counted elsewhere
  double loss = 0;
  return measure(
      [&](NnContext& nn) {
        nn.random_key = random_key;
        const Network network{model, layers_of(model, plan.layers), ropes, nn};
        if (plan.backward) {
          network_gradients(&loss, network, tokens, ids, plan.n_kept, 1);
        } else {
          head_loss_forward(&loss, model.head(), forward_pass(network, tokens), ids, nn);
        }
      },
      arithmetic, DotInput::f32, n_threads);
}

// Of the activations that are kept, and of the largest of those that are not.
int64_t activation_bytes(const Model& model, const StepPlan& plan, Arithmetic arithmetic, int n_threads) {
  const std::vector<RopeTable> ropes(2);
  int64_t kept = 0, shared = 0;
  measure(
      [&](NnContext& nn) {
        std::vector<SharedKv> slots(kv_slots(model));
        const Tokens tokens{plan.n_tokens, nullptr, {}, ropes, slots};
        int64_t i = 0;
        for (const Layer& layer : layers_of(model, plan.layers).subspan(size_t(plan.n_below))) {
          const ArenaScope scope(nn.arena);
          const int64_t begin = nn.arena.mark().used;
          layer_forward_keeping(nullptr, nullptr, model.config.n_embd, layer, tokens, nn);
          const int64_t used = nn.arena.mark().used - begin;
          i++ < plan.n_kept ? kept += used : shared = std::max(shared, used);
        }
      },
      arithmetic, DotInput::f32, n_threads);
  return kept + shared;
}

}  // namespace

StepPlan plan_step(const Model& model, int64_t n_tokens, int64_t n_positions, int64_t n_kept, bool backward,
                   Arithmetic arithmetic, int n_threads, std::optional<LayerRange> layers) {
  const int64_t stream = Arena::size_of<float>(n_tokens * model.config.n_embd);
  StepPlan plan;
  plan.n_tokens = n_tokens;
  plan.n_positions = n_positions;
  plan.layers = layers.value_or(LayerRange{0, model.config.n_layer});
  plan.backward = backward;
  if (backward) {
    plan.n_below = layers_below(model, layers_of(model, plan.layers));
    plan.n_kept = std::clamp<int64_t>(n_kept, 0, plan.n_backward());
  }
  // A few tokens take another way through linear layers, but where adapters drop what they read.
  int64_t all = 0;
  for (const int64_t n : {n_tokens, std::min(n_tokens, kDotTokens)}) {
    for (const std::optional<uint64_t> key : {std::optional<uint64_t>(), std::optional<uint64_t>(0)})
      all = std::max(all, pass_bytes(model, plan, n, key, arithmetic, n_threads));
  }
  plan.input_bytes = stream * (!backward           ? 1
                               : plan.n_below == 0 ? std::max<int64_t>(plan.layers.n, 2)
                                                   : plan.n_backward() + 1);
  if (backward) plan.activation_bytes = activation_bytes(model, plan, arithmetic, n_threads);
  plan.workspace_bytes = all - plan.input_bytes - plan.activation_bytes;
  plan.other_bytes =
      GemmScratch::bytes_per_worker() * n_threads + rope_table_bytes(model.config, n_positions);
  return plan;
}

// More layers kept take more memory, so the most that fit are found by halving.
StepPlan plan_step_within(uint64_t budget, const Model& model, int64_t n_tokens, int64_t n_positions,
                          Arithmetic arithmetic, int n_threads) {
  const auto plan = [&](int64_t n_kept) {
    return plan_step(model, n_tokens, n_positions, n_kept, true, arithmetic, n_threads);
  };
  StepPlan best = plan(model.config.n_layer);
  int64_t low = 0, high = best.n_backward();
  if (uint64_t(best.total_bytes()) <= budget) return best;
  for (best = plan(0); low + 1 < high;) {
    const int64_t middle = low + (high - low) / 2;
    const StepPlan tried = plan(middle);
    if (uint64_t(tried.total_bytes()) <= budget) {
      low = middle, best = tried;
    } else {
      high = middle;
    }
  }
  return best;
}

Step::Step(const Model& model, const StepPlan& plan, Arithmetic arithmetic, ThreadPool& pool)
    : model_(model),
      plan_(plan),
      ropes_(make_rope_tables(model.config, plan.n_positions)),
      arena_(plan.arena_bytes()),
      scratch_(pool.size()),
      nn_{pool, arithmetic.floats, scratch_, arena_} {
  nn_.int8 = arithmetic.int8;
  if (!plan.weight_room) return;
  prefetch_.emplace(model.gguf, stage_weights(model, layers_of(model, plan.layers)), size_t(plan.n_below),
                    *plan.weight_room);
  nn_.will_read = [this](const MatrixView& w) { prefetch_->chosen(w); };
}

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

Network Step::network(const StepTokens& tokens, bool backward) {
  if (prefetch_) prefetch_->begin(int64_t(tokens.ids.size()), backward);
  return {model_, layers_of(model_, plan_.layers), ropes_, nn_, [this] {
            expect_wanted();
            if (prefetch_) prefetch_->enter();
          }};
}

// The normed output, in the arena.
const float* Step::forward(const StepTokens& tokens) {
  nn_.random_key.reset();  // nothing is dropped but in training
  const Network network = this->network(tokens, false);
  const float* const norm = forward_pass(network, {tokens.ids, tokens.positions, tokens.segments});
  network.before_stage();  // the head
  return norm;
}

void Step::losses(double* losses, const StepTokens& tokens) {
  check(tokens);
  const ArenaScope scope(arena_);
  head_loss_forward(losses, model_.head(), forward(tokens), tokens.targets, nn_);
  expect_no_lost_pages();
}

void Step::logits(float* logits, const StepTokens& tokens) {
  check(tokens);
  const ArenaScope scope(arena_);
  const int64_t n = int64_t(tokens.ids.size()), n_embd = model_.config.n_embd;
  const float* norm = forward(tokens);
  for (int64_t t = 0; t < n; t += kHeadTokens) {
    head_logits(logits + t * model_.config.n_vocab, model_.head(), norm + t * n_embd,
                std::min(kHeadTokens, n - t), nn_);
  }
  expect_no_lost_pages();
}

void Step::losses_and_gradients(double* losses, const StepTokens& tokens, float scale,
                                std::optional<uint64_t> random_key, std::optional<EmbeddingNoise> noise) {
  check(tokens);
  if (!plan_.backward) fail("step: planned without a backward pass");
  nn_.random_key = random_key;
  nn_.noise = noise;
  const ProfileScope part(nn_.profile, Part::elementwise);
  const ArenaScope scope(arena_);
  network_gradients(losses, network(tokens, true), {tokens.ids, tokens.positions, tokens.segments},
                    tokens.targets, plan_.n_kept, scale);
  expect_no_lost_pages();
}

}  // namespace lora
