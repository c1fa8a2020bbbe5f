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

Network network_of(const Model& model, const NetworkPart& part, std::span<const RopeTable> ropes,
                   NnContext& nn) {
  Network network{model, layers_of(model, part.layers), ropes, nn};
  network.has_embedding = part.has_embedding;
  network.has_head = part.has_head;
  network.passes_down = passes_down(model, part);
  return network;
}

// Of n tokens, all with a target, in segments that are as long as can be. However many are asked for, nothing
// of their number exists: a dry run does not look at them.
struct DryTokens {
  DryTokens(int64_t n, int64_t n_positions)
      : ids(&token, size_t(n)), longest(std::min(n, n_positions)), segment{0, longest, 0, longest} {}
  int32_t token = 0;
  std::span<const int32_t> ids;
  int64_t longest;
  AttentionSegment segment;
  NetworkTokens tokens() const { return {ids, ids, {&segment, 1}}; }
};

// Bytes of a step of n tokens.
int64_t pass_bytes(const Model& model, const StepPlan& plan, int64_t n, std::optional<uint64_t> random_key,
                   Arithmetic arithmetic, int n_threads) {
  const DryTokens dry(n, plan.n_positions);
  const NetworkTokens tokens = dry.tokens();
  const std::vector<RopeTable> ropes(2);  // their memory is counted elsewhere
  double loss = 0;
  return measure(
      [&](NnContext& nn) {
        nn.random_key = random_key;
        nn.head_tokens = plan.head_tokens;
        const Network network = network_of(model, plan.part, ropes, nn);
        if (plan.backward) {
          network_gradients(&loss, network, tokens, dry.ids, plan.n_kept, 1);
        } else {
          head_loss_forward(&loss, model.head(), forward_pass(network, tokens), dry.ids, nn);
        }
      },
      arithmetic, DotInput::f32, n_threads);
}

// Of a part with batches in flight: what of n tokens' pass is there between up and down, and, of a flight
// with so many bytes of its own, what it takes beside those at most.
struct FlightBytes {
  int64_t own = 0, shared = 0;
};
FlightBytes flight_bytes(const Model& model, const StepPlan& plan, int64_t n, int64_t own,
                         std::optional<uint64_t> random_key, Arithmetic arithmetic, int n_threads) {
  const DryTokens dry(n, plan.n_positions);
  const NetworkTokens tokens = dry.tokens();
  const std::vector<RopeTable> ropes(2);
  double loss = 0;
  FlightBytes bytes;
  const int64_t peak = measure(
      [&](NnContext& nn) {
        nn.random_key = random_key;
        nn.head_tokens = plan.head_tokens;
        const Network network = network_of(model, plan.part, ropes, nn);
        {
          const ArenaScope scope(nn.arena);
          const float* norm = forward_pass(network, tokens);
          if (network.has_head) head_loss_forward(&loss, model.head(), norm, dry.ids, nn);
        }
        float in = 0;
        GradientPass pass(network, tokens, plan.n_kept, &in);
        pass.up();
        bytes.own = nn.arena.mark().used;
        if (network.has_head) pass.head(&loss, dry.ids, 1);
        pass.down();
      },
      arithmetic, DotInput::f32, n_threads, own);
  bytes.shared = std::max<int64_t>(0, peak - own);
  return bytes;
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
        for (const Layer& layer : layers_of(model, plan.part.layers).subspan(size_t(plan.n_below))) {
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
                   Arithmetic arithmetic, int n_threads, const std::optional<NetworkPart>& part,
                   int64_t head_tokens) {
  const int64_t stream = Arena::size_of<float>(n_tokens * model.config.n_embd);
  StepPlan plan;
  plan.n_tokens = n_tokens;
  plan.n_positions = n_positions;
  plan.part = part.value_or(NetworkPart{{0, model.config.n_layer}});
  plan.backward = backward;
  plan.head_tokens = head_tokens;
  const LayerRange& layers = plan.part.layers;
  if (backward) {
    plan.passes_down = passes_down(model, plan.part);
    if (!plan.passes_down) plan.n_below = layers_below(model, layers_of(model, layers));
    plan.n_kept = std::clamp<int64_t>(n_kept, 0, plan.n_backward());
  }
  plan.other_bytes =
      GemmScratch::bytes_per_worker() * n_threads + rope_table_bytes(model.config, n_positions);
  // A few tokens take another way through linear layers, but where adapters drop what they read.
  const auto for_each_way = [&](const auto& visit) {
    for (const int64_t n : {n_tokens, std::min(n_tokens, kDotTokens)}) {
      for (const std::optional<uint64_t> key : {std::optional<uint64_t>(), std::optional<uint64_t>(0)})
        visit(n, key);
    }
  };
  const int64_t n_inputs = !backward           ? 1
                           : plan.n_below == 0 ? std::max<int64_t>(layers.n, 2)
                                               : plan.n_backward() + 1;
  if (const int64_t n_flight = plan.part.n_flight; n_flight > 0) {
    FlightBytes most;
    const auto take_most = [&](int64_t own) {
      for_each_way([&](int64_t n, std::optional<uint64_t> key) {
        const FlightBytes bytes = flight_bytes(model, plan, n, own, key, arithmetic, n_threads);
        most = {std::max(most.own, bytes.own), std::max(own > 0 ? most.shared : 0, bytes.shared)};
      });
    };
    take_most(0);
    take_most(plan.flight_bytes = most.own);
    // What comes in lies outside, with the next one's, and so does a gradient.
    const int64_t n_outside = (plan.part.has_embedding ? 0 : n_flight + 1) + 1;
    plan.activation_bytes = n_flight * (most.own - std::min(most.own, n_inputs * stream));
    plan.input_bytes = n_flight * most.own - plan.activation_bytes + n_outside * stream;
    plan.workspace_bytes = most.shared;
    return plan;
  }
  int64_t all = 0;
  for_each_way([&](int64_t n, std::optional<uint64_t> key) {
    all = std::max(all, pass_bytes(model, plan, n, key, arithmetic, n_threads));
  });
  plan.input_bytes = stream * n_inputs;
  if (backward) plan.activation_bytes = activation_bytes(model, plan, arithmetic, n_threads);
  plan.workspace_bytes = all - plan.input_bytes - plan.activation_bytes;
  return plan;
}

// More layers kept take more memory, so the most that fit are found by halving. Logits of more tokens at a
// time spare less than that, so they come last.
StepPlan plan_step_within(uint64_t budget, const Model& model, int64_t n_tokens, int64_t n_positions,
                          int64_t n_least, Arithmetic arithmetic, int n_threads,
                          const std::optional<NetworkPart>& part) {
  const auto plan = [&](int64_t n_kept, int64_t head_tokens) {
    return plan_step(model, n_tokens, n_positions, n_kept, true, arithmetic, n_threads, part, head_tokens);
  };
  const auto fits = [&](const StepPlan& tried) { return uint64_t(tried.total_bytes()) <= budget; };
  for (const int64_t head_tokens : {kMostHeadTokens, kHeadTokens}) {
    const StepPlan all = plan(model.config.n_layer, head_tokens);
    if (fits(all) || (head_tokens == kHeadTokens && n_least >= all.n_backward())) return all;
  }
  StepPlan best = plan(n_least, kHeadTokens);
  for (int64_t low = best.n_kept, high = best.n_backward(); low + 1 < high;) {
    const int64_t middle = low + (high - low) / 2;
    const StepPlan tried = plan(middle, kHeadTokens);
    if (fits(tried)) {
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
      arena_(plan.part.n_flight > 0 ? plan.workspace_bytes : plan.arena_bytes()),
      scratch_(pool.size()),
      nn_{pool, arithmetic.floats, scratch_, arena_} {
  nn_.int8 = arithmetic.int8;
  nn_.fine_gradients = arithmetic.fine_gradients;
  nn_.head_tokens = plan.head_tokens;
  if (plan.weight_room) {
    prefetch_.emplace(model.gguf, stage_weights(model, plan.part), size_t(plan.n_below), *plan.weight_room);
    nn_.will_read = [this](const MatrixView& w) { prefetch_->chosen(w); };
  }
  for (int64_t i = 0; i < plan.part.n_flight; ++i) flights_.emplace_back(nn_, plan.flight_bytes, arena_);
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

Network Step::network(NnContext& nn, std::span<const int32_t> ids, Sweep sweep) {
  if (prefetch_) {
    prefetch_->begin(int64_t(ids.size()), sweep);
    if (plan_.part.has_embedding || reads_embedding(model_)) prefetch_->rows(model_.embedding.table, ids);
  }
  Network network = network_of(model_, plan_.part, ropes_, nn);
  network.before_stage = [this] {
    expect_wanted();
    if (prefetch_) prefetch_->enter();
  };
  return network;
}

// The normed output, in the arena.
const float* Step::forward(const StepTokens& tokens) {
  nn_.random_key.reset();  // nothing is dropped but in training
  const Network network = this->network(nn_, tokens.ids, Sweep::up);
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
  network_gradients(losses, network(nn_, tokens.ids, Sweep::up_and_down),
                    {tokens.ids, tokens.positions, tokens.segments}, tokens.targets, plan_.n_kept, scale);
  expect_no_lost_pages();
}

float* Step::up(int64_t flight, const StepTokens& tokens, float* in, std::optional<uint64_t> random_key,
                std::optional<EmbeddingNoise> noise) {
  check(tokens);
  Flight& f = flights_[size_t(flight)];
  f.arena.release({0});
  f.nn.random_key = random_key;
  f.nn.noise = noise;
  const Network network =
      this->network(f.nn, tokens.ids, plan_.part.has_head ? Sweep::up_and_down : Sweep::up);
  f.pass.emplace(network, NetworkTokens{tokens.ids, tokens.positions, tokens.segments}, plan_.n_kept, in);
  f.pass->up();
  expect_no_lost_pages();
  return f.pass->stream();
}

void Step::head(int64_t flight, double* losses, std::span<const int32_t> targets, float scale) {
  flights_[size_t(flight)].pass->head(losses, targets, scale);
}

void Step::down(int64_t flight) {
  if (prefetch_ && !plan_.part.has_head) prefetch_->begin(plan_.n_tokens, Sweep::down);
  flights_[size_t(flight)].pass->down();
  expect_no_lost_pages();
}

float* Step::pass(int64_t flight, const StepTokens& tokens, const float* in) {
  check(tokens);
  Flight& f = flights_[size_t(flight)];
  f.arena.release({0});
  f.nn.random_key.reset();
  f.nn.noise.reset();
  const int64_t n = int64_t(tokens.ids.size()), size = n * model_.config.n_embd;
  float* x = f.arena.take<float>(size);
  if (in) std::copy_n(in, size, x);
  network_forward(x, network(f.nn, tokens.ids, Sweep::up), {tokens.ids, tokens.positions, tokens.segments},
                  {});
  expect_no_lost_pages();
  return x;
}

void Step::losses_of(int64_t flight, double* losses, const StepTokens& tokens, const float* in) {
  float* x = pass(flight, tokens, in);
  Flight& f = flights_[size_t(flight)];
  const Network network = network_of(model_, plan_.part, ropes_, f.nn);
  network_norm(x, x, int64_t(tokens.ids.size()), network);
  expect_wanted();
  if (prefetch_) prefetch_->enter();
  head_loss_forward(losses, model_.head(), x, tokens.targets, f.nn);
  expect_no_lost_pages();
}

}  // namespace lora
