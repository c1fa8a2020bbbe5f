#include "model/decoder.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/lost_pages.h"
#include "kernels/attention/cache.h"

namespace lora {
namespace {

// The logits that follow the last of some new tokens.
void decode(float* logits, const Network& network, const NetworkTokens& tokens,
            std::span<const KvCache> caches) {
  NnContext& nn = network.nn;
  const ArenaScope scope(nn.arena);
  const int64_t n = int64_t(tokens.ids.size());
  float* x = nn.arena.take<float>(n * network.n_embd());
  network_forward(x, network, tokens, caches);
  if (!logits) return;
  float* last = nn.arena.take<float>(network.n_embd());
  network_norm(last, x + (n - 1) * network.n_embd(), 1, network);
  head_logits(logits, network.model.head(), last, 1, nn);
}

int64_t batch_of(const DecoderOptions& options) {
  return std::min(options.n_batch, options.n_ctx);
}

// Keys or values of a layer, without memory: each layer has its own heads and window.
MatrixView cache_shape(const Layer& layer, const DecoderOptions& options) {
  MatrixView view{options.cache_type, nullptr, 0, 0};
  for_each_attention(layer, [&](const Attention& a) {
    view.n_rows = cache_rows(options.n_ctx, batch_of(options), a.form.shape.window);
    view.n_cols = a.k.n_out();
  });
  if (view.n_cols % traits(view.type).block_size != 0) {
    fail("cache type {}: blocks of {} do not divide a token's {} values of keys; take f16",
         traits(view.type).name, traits(view.type).block_size, view.n_cols);
  }
  return view;
}

// As many tokens as can be at once, a few, and one, which take other ways through linear layers; each as the
// last of the context.
int64_t arena_bytes(const Model& model, const DecoderOptions& options, int n_threads) {
  const std::vector<RopeTable> ropes(2);
  float logits = 0;
  const auto bytes = [&](int64_t n) {
    const std::vector<int32_t> zeros(static_cast<size_t>(n));
    std::vector<KvCache> caches;
    for (const Layer& layer : model.layers) {
      const MatrixView view = cache_shape(layer, options);
      caches.push_back({view, view, nullptr, nullptr, options.n_ctx - n});
    }
    return measure(
        [&](NnContext& nn) {
          decode(&logits, {model, model.layers, ropes, nn}, {zeros, zeros, {}}, caches);
        },
        gemm_input(options.precision), dot_input(options.precision), n_threads);
  };
  return std::max({bytes(batch_of(options)), bytes(std::min(batch_of(options), kDotTokens)), bytes(1)});
}

}  // namespace

Decoder::Decoder(const Model& model, const DecoderOptions& options, ThreadPool& pool)
    : model_(model),
      n_ctx_(options.n_ctx),
      n_batch_(batch_of(options)),
      ropes_(make_rope_tables(model.config, n_ctx_)),
      logits_(model.config.n_vocab),
      arena_(arena_bytes(model, options, pool.size())),
      scratch_(pool.size()),
      nn_{pool, gemm_input(options.precision), scratch_, arena_, nullptr, dot_input(options.precision)} {
  for (const Layer& layer : model.layers) {
    const MatrixView view = cache_shape(layer, options);
    const int64_t bytes = view.n_rows * view.row_bytes();
    LayerCache cache{view, view, Buffer<std::byte>(bytes), Buffer<std::byte>(bytes)};
    cache.k.data = cache.k_data.data();
    cache.v.data = cache.v_data.data();
    caches_.push_back(std::move(cache));
  }
}

uint64_t Decoder::cache_bytes(const Model& model, const DecoderOptions& options) {
  int64_t bytes = rope_table_bytes(model.config, options.n_ctx);
  for (const Layer& layer : model.layers) {
    const MatrixView view = cache_shape(layer, options);
    bytes += 2 * view.n_rows * view.row_bytes();
  }
  return uint64_t(bytes);
}

uint64_t Decoder::memory_bytes(const Model& model, const DecoderOptions& options, int n_threads) {
  const int64_t computing =
      arena_bytes(model, options, n_threads) + GemmScratch::bytes_per_worker() * n_threads;
  return cache_bytes(model, options) + uint64_t(computing) + uint64_t(model.config.n_vocab) * sizeof(float);
}

int64_t Decoder::keep(int64_t n) {
  n = std::min(n, n_past_);
  for (size_t i = 0; i < caches_.size(); ++i) {
    for_each_attention(model_.layers[i], [&](const Attention& a) {
      const int64_t window = a.form.shape.window, first_seen = std::max<int64_t>(0, n + 1 - window);
      if (window > 0 && n_past_ - first_seen > caches_[i].k.n_rows) n = 0;
    });
  }
  return n_past_ = n;
}

std::span<const float> Decoder::append(std::span<const int32_t> ids) {
  const ModelConfig& c = model_.config;
  if (ids.empty()) fail("decoder: no tokens");
  if (n_past_ + int64_t(ids.size()) > n_ctx_) {
    fail("decoder: {} tokens do not fit a context of {}", n_past_ + int64_t(ids.size()), n_ctx_);
  }
  for (int32_t id : ids) {
    if (id < 0 || id >= c.n_vocab) fail("token {}: not in a vocabulary of {}", id, c.n_vocab);
  }
  const Network network{model_, model_.layers, ropes_, nn_, expect_no_lost_pages};
  for (size_t begin = 0; begin < ids.size(); begin += size_t(n_batch_)) {
    const auto piece = ids.subspan(begin, std::min(size_t(n_batch_), ids.size() - begin));
    const int64_t n = int64_t(piece.size());
    std::vector<int32_t> positions(piece.size());
    std::iota(positions.begin(), positions.end(), int32_t(n_past_));
    std::vector<KvCache> caches;
    for (LayerCache& layer : caches_)
      caches.push_back({layer.k, layer.v, layer.k_data.data(), layer.v_data.data(), n_past_});
    const bool is_last = begin + piece.size() == ids.size();
    decode(is_last ? logits_.data() : nullptr, network, {piece, positions, {}}, caches);
    n_past_ += n;
  }
  expect_no_lost_pages();
  return logits_.span();
}

}  // namespace lora
