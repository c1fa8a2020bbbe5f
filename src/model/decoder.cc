#include "model/decoder.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/lost_pages.h"
#include "kernels/rmsnorm/rmsnorm.h"
#include "nn/embedding.h"

namespace lora {
namespace {

int64_t arena_bytes(const Model& model, int64_t n_ctx, int64_t n_batch, GemmInput input, int n_threads) {
  int64_t layer_bytes = 0;
  for (const Layer& layer : model.layers) {
    layer_bytes = std::max(layer_bytes,
                           block_activation_bytes(model, layer, n_batch) +
                               block_workspace_bytes(model, layer, n_batch, n_ctx, false, input, n_threads));
  }
  const Linear* output[] = {&model.output};
  return Arena::size_of<float>(n_batch * model.config.n_embd) + Arena::size_of<float>(model.config.n_embd) +
         std::max(layer_bytes, linear_workspace_bytes(output, 1, input));
}

}  // namespace

Decoder::Decoder(const Model& model, int64_t n_ctx, int64_t n_batch, Precision precision, ThreadPool& pool)
    : model_(model),
      n_ctx_(n_ctx),
      n_batch_(std::min(n_batch, n_ctx)),
      rope_(make_rope_table(model.config.rope, n_ctx)),
      logits_(model.config.n_vocab),
      arena_(arena_bytes(model, n_ctx, n_batch_, gemm_input(precision), pool.size())),
      scratch_(pool.size()),
      nn_{pool, gemm_input(precision), scratch_, arena_, nullptr, dot_input(precision)} {
  for (int64_t i = 0; i < model.config.n_layer; ++i) {
    k_.emplace_back(n_ctx * model.config.n_embd_kv());
    v_.emplace_back(n_ctx * model.config.n_embd_kv());
  }
}

uint64_t Decoder::cache_bytes(const Model& model, int64_t n_ctx) {
  const ModelConfig& c = model.config;
  return uint64_t(n_ctx) * uint64_t(2 * c.n_layer * c.n_embd_kv() + c.rope.n_rot) * sizeof(float);
}

uint64_t Decoder::memory_bytes(const Model& model, int64_t n_ctx, int64_t n_batch, Precision precision,
                               int n_threads) {
  const int64_t computing =
      arena_bytes(model, n_ctx, std::min(n_batch, n_ctx), gemm_input(precision), n_threads) +
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
  for (size_t begin = 0; begin < ids.size(); begin += size_t(n_batch_)) {
    const ArenaScope scope(arena_);
    const auto piece = ids.subspan(begin, std::min(size_t(n_batch_), ids.size() - begin));
    const int64_t n = int64_t(piece.size());
    float* x = arena_.take<float>(n * c.n_embd);
    std::vector<int32_t> positions(piece.size());
    std::iota(positions.begin(), positions.end(), int32_t(n_past_));
    const AttentionSegment segment{0, n, 0, n_past_ + n};
    const BlockTokens block{n, positions.data(), {&segment, 1}, rope_};
    embedding_forward(x, model_.embedding, piece, nn_.pool);
    for (size_t i = 0; i < model_.layers.size(); ++i) {
      expect_no_lost_pages();
      const ArenaScope layer_scope(arena_);
      const BlockActivations activations = take_block_activations(arena_, model_, model_.layers[i], n);
      const KvRows cache{k_[i].data(), v_[i].data(), n_past_};
      block_forward(x, x, model_, model_.layers[i], activations, block, &cache, nn_);
    }
    n_past_ += n;
    if (begin + piece.size() == ids.size()) {
      float* norm = arena_.take<float>(c.n_embd);
      norm_forward(norm, x + (n - 1) * c.n_embd, model_.output_norm, c.rms_norm_eps, 1, nn_.pool);
      const LinearOutput out = {&model_.output, logits_.data()};
      linear_forward({&out, 1}, norm, 1, nn_);
    }
  }
  expect_no_lost_pages();
  return logits_.span();
}

}  // namespace lora
