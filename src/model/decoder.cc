#include "model/decoder.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/lost_pages.h"
#include "kernels/rmsnorm/rmsnorm.h"
#include "nn/embedding.h"

namespace lora {
namespace {

// The logits that follow the last of some new tokens.
void decode(float* logits, const Network& network, const NetworkTokens& tokens,
            std::span<const KvRows> caches) {
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

// As many tokens as can be at once, and a few, which take another way through linear layers; each as the last of
// the context.
int64_t arena_bytes(const Model& model, int64_t n_ctx, int64_t n_batch, Precision precision, int n_threads) {
  const std::vector<RopeTable> ropes(2);
  const std::vector<KvRows> caches(model.layers.size());
  float logits = 0;
  const auto bytes = [&](int64_t n) {
    const std::vector<int32_t> zeros(static_cast<size_t>(n));
    const AttentionSegment segment{0, n, 0, n_ctx};
    return measure(
        [&](NnContext& nn) {
          decode(&logits, {model, model.layers, ropes, nn}, {zeros, zeros, {&segment, 1}}, caches);
        },
        gemm_input(precision), dot_input(precision), n_threads);
  };
  return std::max(bytes(n_batch), bytes(std::min(n_batch, kDotTokens)));
}

}  // namespace

Decoder::Decoder(const Model& model, int64_t n_ctx, int64_t n_batch, Precision precision, ThreadPool& pool)
    : model_(model),
      n_ctx_(n_ctx),
      n_batch_(std::min(n_batch, n_ctx)),
      ropes_(make_rope_tables(model.config, n_ctx)),
      logits_(model.config.n_vocab),
      arena_(arena_bytes(model, n_ctx, n_batch_, precision, pool.size())),
      scratch_(pool.size()),
      nn_{pool, gemm_input(precision), scratch_, arena_, nullptr, dot_input(precision)} {
  for (int64_t i = 0; i < model.config.n_layer; ++i) {
    k_.emplace_back(n_ctx * model.config.n_embd_kv());
    v_.emplace_back(n_ctx * model.config.n_embd_kv());
  }
}

uint64_t Decoder::cache_bytes(const Model& model, int64_t n_ctx) {
  const ModelConfig& c = model.config;
  return uint64_t(n_ctx) * uint64_t(2 * c.n_layer * c.n_embd_kv()) * sizeof(float) +
         uint64_t(rope_table_bytes(c, n_ctx));
}

uint64_t Decoder::memory_bytes(const Model& model, int64_t n_ctx, int64_t n_batch, Precision precision,
                               int n_threads) {
  const int64_t computing =
      arena_bytes(model, n_ctx, std::min(n_batch, n_ctx), precision, n_threads) +
      GemmScratch::bytes_per_worker() * n_threads;
  return cache_bytes(model, n_ctx) + uint64_t(computing) + uint64_t(model.config.n_vocab) * sizeof(float);
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
    const AttentionSegment segment{0, n, 0, n_past_ + n};
    std::vector<KvRows> caches;
    for (size_t i = 0; i < k_.size(); ++i) caches.push_back({k_[i].data(), v_[i].data(), n_past_});
    const bool is_last = begin + piece.size() == ids.size();
    decode(is_last ? logits_.data() : nullptr, network, {piece, positions, {&segment, 1}}, caches);
    n_past_ += n;
  }
  expect_no_lost_pages();
  return logits_.span();
}

}  // namespace lora
