#include "model/network.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "nn/elementwise.h"
#include "nn/embedding.h"

namespace lora {
namespace {

// What of a pass outlives a layer, beside the stream: keys and values that layers share, and what went into
// the first layer where later ones read it.
class Lasting {
 public:
  // first: the lowest layer that the backward pass reaches; without one that of none.
  Lasting(const Network& network, int64_t n_tokens, std::optional<int64_t> first, bool keeps_shared)
      : shared_(kv_slots(network.model)) {
    NnContext& nn = network.nn;
    for (size_t i = 0; i < network.layers.size() && keeps_shared; ++i) {
      for_each_attention(network.layers[i], [&](const Attention& a) {
        if (a.form.kv_slot < 0) return;
        SharedKv& slot = shared_[size_t(a.form.kv_slot)];
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
    if (reads_embedding(network.model)) embedded = nn.arena.take<float>(n_tokens * network.n_embd());
  }

  Tokens tokens(const Network& network, const NetworkTokens& t) {
    return {int64_t(t.ids.size()), t.positions.data(), t.segments, network.ropes, shared_,
            t.ids.data(),          embedded,           dembedded};
  }

  float* embedded = nullptr;   // (n_tokens, n_embd)
  float* dembedded = nullptr;  // its gradient, where the embedding is trained

 private:
  std::vector<SharedKv> shared_;
};

void before_stage(const Network& network) {
  if (network.before_stage) network.before_stage();
}

// Loss of the last layer's output x, which its gradient replaces.
void head_gradients(float* x, double* losses, const Network& network, std::span<const int32_t> targets,
                    float scale) {
  NnContext& nn = network.nn;
  const ArenaScope scope(nn.arena);
  const int64_t n = int64_t(targets.size());
  const Norm& output_norm = network.model.output_norm;
  float* norm = nn.arena.take<float>(n * network.n_embd());
  network_norm(norm, x, n, network);
  head_loss_backward(norm, losses, network.model.head(), norm, targets, scale, nn);
  norm_backward(x, norm, x, output_norm, n, false, nn.pool);
}

}  // namespace

void network_forward(float* x, const Network& network, const NetworkTokens& t,
                     std::span<const LayerPast> past) {
  NnContext& nn = network.nn;
  const ArenaScope scope(nn.arena);
  Lasting lasting(network, int64_t(t.ids.size()), {}, past.empty());
  embedding_forward(x, network.model.embedding, t.ids, t.positions, nn.pool);
  if (lasting.embedded) copy(lasting.embedded, x, int64_t(t.ids.size()) * network.n_embd(), nn.pool);
  const Tokens tokens = lasting.tokens(network, t);
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
  const auto is_trained = [](const LoraView& lora) { return lora.da != nullptr; };
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

void network_gradients(double* losses, const Network& network, const NetworkTokens& t,
                       std::span<const int32_t> targets, int64_t n_kept, float scale) {
  NnContext& nn = network.nn;
  const Embedding& embedding = network.model.embedding;
  const int64_t n_layer = int64_t(network.layers.size()), n_embd = network.n_embd();
  const int64_t size = int64_t(t.ids.size()) * n_embd;
  const int64_t first = layers_below(network.model, network.layers);  // of those with a backward pass
  const bool embedding_trained =
      std::ranges::any_of(embedding.loras, [](const LoraView& lora) { return lora.da != nullptr; });
  Lasting lasting(network, int64_t(t.ids.size()), first, true);
  if (lasting.embedded && embedding_trained) {
    lasting.dembedded = nn.arena.take<float>(size);
    set_zero(lasting.dembedded, size, nn.pool);
  }
  const Tokens tokens = lasting.tokens(network, t);
  const auto embed = [&](float* x) {
    embedding_forward(x, embedding, t.ids, t.positions, nn.pool);
    if (nn.noise) embedding_noise(x, embedding, t.segments, *nn.noise, nn.pool);
  };

  // Of each layer from the first on, and the last one's output. That of the model's first one is not kept: it
  // lies where the output will, and is looked up again in the place of the second one's.
  std::vector<float*> inputs(size_t(n_layer) + 1);
  for (int64_t i = std::max<int64_t>(first, 1); i <= n_layer; ++i)
    inputs[size_t(i)] = nn.arena.take<float>(size);
  float* dx = inputs[size_t(n_layer)];  // the head's backward pass turns its input into its gradient
  float* first_again = nullptr;
  if (first == 0) {
    first_again = n_layer > 1 ? inputs[1] : nn.arena.take<float>(size);
    inputs[0] = dx;
  }

  std::vector<LayerKept> kept(static_cast<size_t>(n_layer));
  const auto keep = [&](int64_t i, float* y) {
    kept[size_t(i)] =
        layer_forward_keeping(y, inputs[size_t(i)], n_embd, network.layers[size_t(i)], tokens, nn);
  };
  float* const below = inputs[size_t(first)];
  embed(below);
  if (lasting.embedded) copy(lasting.embedded, below, size, nn.pool);
  for (int64_t i = 0; i < n_layer; ++i) {
    before_stage(network);
    if (i < first) {
      layer_forward(below, below, n_embd, network.layers[size_t(i)], tokens, {}, nn);
      continue;
    }
    float* y = inputs[size_t(i) + 1];
    if (i < first + n_kept || i == n_layer - 1) {
      keep(i, y);
    } else {
      layer_forward(y, inputs[size_t(i)], n_embd, network.layers[size_t(i)], tokens, {}, nn);
    }
  }
  before_stage(network);
  head_gradients(dx, losses, network, targets, scale);
  for (int64_t i = n_layer - 1; i >= first; --i) {
    before_stage(network);
    if (i == 0) {
      embed(first_again);
      inputs[0] = first_again;
    }
    if (i >= first + n_kept && i < n_layer - 1) keep(i, nullptr);
    if (i == 0) kept[0].branches.front().x = first_again;
    layer_backward(dx, n_embd, network.layers[size_t(i)], kept[size_t(i)], tokens,
                   i > first || embedding_trained, nn);
  }
  if (lasting.dembedded) add(dx, lasting.dembedded, 1, size, nn.pool);
  if (embedding_trained) embedding_backward(embedding, dx, t.ids, nn);
}

int64_t measure(const std::function<void(NnContext& nn)>& pass, Arithmetic arithmetic, DotInput dot,
                int n_threads) {
  Arena arena = Arena::measuring();
  ThreadPool pool(ThreadPool::DryRun{n_threads});
  GemmScratch scratch(0);
  NnContext nn{pool, arithmetic.floats, scratch, arena, nullptr, dot};
  nn.int8 = arithmetic.int8;
  pass(nn);
  return arena.peak();
}

}  // namespace lora
