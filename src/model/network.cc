#include "model/network.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "nn/elementwise.h"

namespace lora {
namespace {

// first: the lowest layer that the backward pass reaches; without one that of none.
Lasting take_lasting(const Network& network, int64_t n_tokens, std::optional<int64_t> first,
                     bool keeps_shared) {
  NnContext& nn = network.nn;
  Lasting lasting{.shared = std::vector<SharedKv>(kv_slots(network.model))};
  for (size_t i = 0; i < network.layers.size() && keeps_shared; ++i) {
    for_each_attention(network.layers[i], [&](const Attention& a) {
      if (a.form.kv_slot < 0) return;
      SharedKv& slot = lasting.shared[size_t(a.form.kv_slot)];
      const int64_t size = n_tokens * a.n_embd_kv();
      const auto take = [&] { return nn.arena.take<float>(size); };
      if (!slot.k) {
        slot.k = take(), slot.v = take();
        if (!a.has_k()) {  // layers without the one that writes, for measuring
          set_zero(slot.k, size, nn.pool);
          set_zero(slot.v, size, nn.pool);
        }
      }
      // Those that read come behind the one that writes, whose gradient theirs are a part of.
      if (!a.has_k() || !first || int64_t(i) < *first) return;
      slot.dk = take(), slot.dv = take();
      set_zero(slot.dk, size, nn.pool);
      set_zero(slot.dv, size, nn.pool);
    });
  }
  if (reads_embedding(network.model)) lasting.embedded = nn.arena.take<float>(n_tokens * network.n_embd());
  return lasting;
}

Tokens tokens_of(const Network& network, const NetworkTokens& t, Lasting& lasting) {
  return {int64_t(t.ids.size()), t.positions.data(), t.segments,       network.ropes,
          lasting.shared,        t.ids.data(),       lasting.embedded, lasting.dembedded};
}

// What goes into the model's first layer.
void embed_tokens(float* x, const Network& network, const NetworkTokens& t) {
  const Embedding& embedding = network.model.embedding;
  embedding_forward(x, embedding, t.ids, t.positions, network.nn.pool);
  if (network.nn.noise) embedding_noise(x, embedding, t.segments, *network.nn.noise, network.nn.pool);
}

bool is_trained(const LoraView& lora) {
  return lora.da != nullptr;
}

void before_stage(const Network& network) {
  if (network.before_stage) network.before_stage();
}

}  // namespace

void network_forward(float* x, const Network& network, const NetworkTokens& t,
                     std::span<const LayerPast> past) {
  NnContext& nn = network.nn;
  const ArenaScope scope(nn.arena);
  const int64_t size = int64_t(t.ids.size()) * network.n_embd();
  Lasting lasting = take_lasting(network, int64_t(t.ids.size()), {}, past.empty());
  if (network.has_embedding) embedding_forward(x, network.model.embedding, t.ids, t.positions, nn.pool);
  if (lasting.embedded && network.has_embedding) {
    copy(lasting.embedded, x, size, nn.pool);
  } else if (lasting.embedded) {
    embedding_forward(lasting.embedded, network.model.embedding, t.ids, t.positions, nn.pool);
  }
  const Tokens tokens = tokens_of(network, t, lasting);
  for (size_t i = 0; i < network.layers.size(); ++i) {
    before_stage(network);
    layer_forward(x, x, network.n_embd(), network.layers[i], tokens,
                  past.empty() ? std::span<const Past>() : past[i], nn);
  }
}

void network_norm(float* out, const float* x, int64_t n, const Network& network) {
  norm_forward(out, x, network.model.output_norm, n, network.nn.pool);
}

int64_t layers_below(const Model& model, std::span<const Layer> layers) {
  if (std::ranges::any_of(model.embedding.loras, is_trained)) return 0;
  const auto trains = [&](const Layer& layer) {
    bool found = false;
    for_each_linear(layer, [&](const Linear& linear, LinearRole) {
      found |= std::ranges::any_of(linear.loras, is_trained);
    });
    for_each_norm(layer, [&](const Norm& norm) { found |= norm.gradient != nullptr; });
    return found;
  };
  return std::ranges::find_if(layers, trains) - layers.begin();
}

void network_gradients(double* losses, const Network& network, const NetworkTokens& tokens,
                       std::span<const int32_t> targets, int64_t n_kept, float scale) {
  GradientPass pass(network, tokens, n_kept);
  pass.up();
  pass.head(losses, targets, scale);
  pass.down();
}

GradientPass::GradientPass(const Network& network, const NetworkTokens& tokens, int64_t n_kept, float* in)
    : network_(network),
      t_(tokens),
      n_layer_(int64_t(network.layers.size())),
      size_(int64_t(tokens.ids.size()) * network.n_embd()),
      n_kept_(n_kept),
      embedding_trained_(std::ranges::any_of(network.model.embedding.loras, is_trained)),
      first_(network.passes_down ? 0 : layers_below(network.model, network.layers)),
      lasting_(take_lasting(network, int64_t(tokens.ids.size()), first_, true)),
      inputs_(size_t(n_layer_) + 1),
      kept_(static_cast<size_t>(n_layer_)) {
  NnContext& nn = network_.nn;
  if (lasting_.embedded && embedding_trained_) {
    lasting_.dembedded = nn.arena.take<float>(size_);
    set_zero(lasting_.dembedded, size_, nn.pool);
  }
  tokens_ = tokens_of(network_, t_, lasting_);
  // Of each layer from the first on, and the last one's output. That of the model's first one is not kept: it
  // lies where the output will, and is looked up again in the place of the second one's.
  for (int64_t i = std::max<int64_t>(first_, 1); i <= n_layer_; ++i)
    inputs_[size_t(i)] = nn.arena.take<float>(size_);
  dx_ = inputs_[size_t(n_layer_)];  // the head's backward pass turns its input into its gradient
  if (!network_.has_embedding) {
    if (first_ > 0)
      copy(inputs_[size_t(first_)], in, size_, nn.pool);
    else
      inputs_[0] = in;
  } else if (first_ == 0) {
    first_again_ = n_layer_ > 1 ? inputs_[1] : nn.arena.take<float>(size_);
    inputs_[0] = dx_;
  }
}

void GradientPass::keep(int64_t i, float* y) {
  kept_[size_t(i)] = layer_forward_keeping(y, inputs_[size_t(i)], network_.n_embd(),
                                           network_.layers[size_t(i)], tokens_, network_.nn);
}

// Whether a layer's activations are still there when its backward pass begins.
bool GradientPass::is_kept(int64_t i) const {
  return i < first_ + n_kept_ || (network_.has_head && i == n_layer_ - 1);
}

void GradientPass::up() {
  NnContext& nn = network_.nn;
  float* const below = inputs_[size_t(first_)];
  if (network_.has_embedding) embed_tokens(below, network_, t_);
  if (lasting_.embedded && network_.has_embedding) {
    copy(lasting_.embedded, below, size_, nn.pool);
  } else if (lasting_.embedded) {
    embed_tokens(lasting_.embedded, network_, t_);
  }
  for (int64_t i = 0; i < n_layer_; ++i) {
    before_stage(network_);
    if (i < first_) {
      layer_forward(below, below, network_.n_embd(), network_.layers[size_t(i)], tokens_, {}, nn);
      continue;
    }
    float* y = inputs_[size_t(i) + 1];
    if (is_kept(i)) {
      keep(i, y);
    } else {
      layer_forward(y, inputs_[size_t(i)], network_.n_embd(), network_.layers[size_t(i)], tokens_, {}, nn);
    }
  }
}

void GradientPass::head(double* losses, std::span<const int32_t> targets, float scale) {
  before_stage(network_);
  NnContext& nn = network_.nn;
  const ArenaScope scope(nn.arena);
  const int64_t n = int64_t(targets.size());
  float* norm = nn.arena.take<float>(n * network_.n_embd());
  network_norm(norm, dx_, n, network_);
  head_loss_backward(norm, losses, network_.model.head(), norm, targets, scale, nn);
  norm_backward(dx_, norm, dx_, network_.model.output_norm, n, false, nn.pool);
}

void GradientPass::down() {
  NnContext& nn = network_.nn;
  const bool has_embedding = network_.has_embedding;
  for (int64_t i = n_layer_ - 1; i >= first_; --i) {
    before_stage(network_);
    if (i == 0 && has_embedding) {
      embed_tokens(first_again_, network_, t_);
      inputs_[0] = first_again_;
    }
    if (!is_kept(i)) keep(i, nullptr);
    if (i == 0 && has_embedding) kept_[0].branches.front().x = first_again_;
    layer_backward(dx_, network_.n_embd(), network_.layers[size_t(i)], kept_[size_t(i)], tokens_,
                   i > first_ || (has_embedding ? embedding_trained_ : network_.passes_down), nn);
  }
  if (!has_embedding) return;
  if (lasting_.dembedded) add(dx_, lasting_.dembedded, 1, size_, nn.pool);
  if (embedding_trained_) embedding_backward(network_.model.embedding, dx_, t_.ids, nn);
}

int64_t measure(const std::function<void(NnContext& nn)>& pass, Arithmetic arithmetic, DotInput dot,
                int n_threads, int64_t own) {
  Arena arena = Arena::measuring(own);
  ThreadPool pool(ThreadPool::DryRun{n_threads});
  GemmScratch scratch(0);
  NnContext nn{pool, arithmetic.floats, scratch, arena, nullptr, dot};
  nn.int8 = arithmetic.int8;
  nn.fine_gradients = arithmetic.fine_gradients;
  pass(nn);
  return arena.peak();
}

}  // namespace lora
