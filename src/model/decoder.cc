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
            std::span<const LayerPast> past) {
  NnContext& nn = network.nn;
  const ArenaScope scope(nn.arena);
  const int64_t n = int64_t(tokens.ids.size());
  float* x = nn.arena.take<float>(n * network.n_embd());
  network_forward(x, network, tokens, past);
  if (!logits) return;
  float* last = nn.arena.take<float>(network.n_embd());
  network_norm(last, x + (n - 1) * network.n_embd(), 1, network);
  head_logits(logits, network.model.head(), last, 1, nn);
}

int64_t batch_of(const DecoderOptions& options) {
  return std::min(options.n_batch, options.n_ctx);
}

// Keys or values of a body, n of each token, without memory.
MatrixView cache_shape(int64_t n, int64_t window, const DecoderOptions& options) {
  if (n % traits(options.cache_type).block_size != 0) {
    fail("cache type {}: blocks of {} do not divide a token's {} values of keys; take f16",
         traits(options.cache_type).name, traits(options.cache_type).block_size, n);
  }
  return {options.cache_type, nullptr, n == 0 ? 0 : cache_rows(options.n_ctx, batch_of(options), window), n};
}

Past past_of(const PastShape& shape, const DecoderOptions& options) {
  return {.k = cache_shape(shape.n_k, shape.window, options),
          .v = cache_shape(shape.n_v, shape.window, options)};
}

// As many tokens as can be at once, a few, and one, which take other ways through linear layers; each as the
// last of the context.
int64_t arena_bytes(const Model& model, const DecoderOptions& options, int n_threads) {
  const std::vector<RopeTable> ropes(2);
  float logits = 0;
  const auto bytes = [&](int64_t n) {
    const std::vector<int32_t> zeros(static_cast<size_t>(n));
    std::vector<LayerPast> past;
    for (const Layer& layer : model.layers) {
      LayerPast& of_layer = past.emplace_back();
      for_each_past(layer, [&](const PastShape& shape) {
        of_layer.push_back(past_of(shape, options));
        of_layer.back().n_past = options.n_ctx - n;
      });
    }
    return measure(
        [&](NnContext& nn) {
          decode(&logits, {model, model.layers, ropes, nn}, {zeros, zeros, {}}, past);
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
    std::vector<BodyPast>& of_layer = past_.emplace_back();
    for_each_past(layer, [&](const PastShape& shape) {
      const auto [n_past, k, v, k_data, v_data, state] = past_of(shape, options);
      BodyPast& past = of_layer.emplace_back(
          BodyPast{shape, k, v, Buffer<std::byte>(k.n_rows * k.row_bytes()),
                   Buffer<std::byte>(v.n_rows * v.row_bytes()), Buffer<float>(shape.n_state)});
      past.k.data = past.k_data.data();
      past.v.data = past.v_data.data();
    });
  }
}

uint64_t Decoder::cache_bytes(const Model& model, const DecoderOptions& options) {
  int64_t bytes = rope_table_bytes(model.config, options.n_ctx);
  for (const Layer& layer : model.layers) {
    for_each_past(layer, [&](const PastShape& shape) {
      const Past past = past_of(shape, options);
      bytes += past.k.n_rows * past.k.row_bytes() + past.v.n_rows * past.v.row_bytes() +
               shape.n_state * int64_t(sizeof(float));
    });
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
  if (n == n_past_) return n;
  for (const auto& layer : past_) {
    for (const BodyPast& past : layer) {
      const int64_t window = past.shape.window, first_seen = std::max<int64_t>(0, n + 1 - window);
      if (past.shape.n_state > 0 || (window > 0 && n_past_ - first_seen > past.k.n_rows)) n = 0;
    }
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
    std::vector<LayerPast> past;
    for (std::vector<BodyPast>& layer : past_) {
      LayerPast& of_layer = past.emplace_back();
      for (BodyPast& body : layer) {
        if (n_past_ == 0) std::ranges::fill(body.state.span(), 0.0f);
        of_layer.push_back(
            {n_past_, body.k, body.v, body.k_data.data(), body.v_data.data(), body.state.data()});
      }
    }
    const bool is_last = begin + piece.size() == ids.size();
    decode(is_last ? logits_.data() : nullptr, network, {piece, positions, {}}, past);
    n_past_ += n;
  }
  expect_no_lost_pages();
  return logits_.span();
}

}  // namespace lora
