#include "nn/head.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/activation/softcap.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "nn/elementwise.h"

namespace lora {
namespace {

// Rows of x that have a target, gathered. Of n_all in the pass these begin at the row `first`.
struct Block {
  int64_t n_all = 0, first = 0, n = 0;
  float* rows = nullptr;
  int32_t targets[kMostHeadTokens] = {};
  int64_t numbers[kMostHeadTokens] = {};  // of their tokens
};

// Runs body on one block after the other.
template <class Body>
void for_blocks(const Head& head, const float* x, std::span<const int32_t> targets, NnContext& nn,
                const Body& body) {
  const ProfileScope part(nn.profile, Part::head);
  const ArenaScope scope(nn.arena);
  const int64_t n_in = head.layer.n_in();
  // What adapters drop and sum goes by blocks.
  const int64_t most = head.layer.loras.empty() ? nn.head_tokens : kHeadTokens;
  Block block;
  block.rows = nn.arena.take<float>(std::min(most, int64_t(targets.size())) * n_in);
  // A dry run has no targets to look at; no block is larger than the first.
  if (nn.pool.is_dry()) {
    block.n_all = int64_t(targets.size());
    block.n = std::min(most, block.n_all);
    return body(block);
  }
  block.n_all = std::ranges::count_if(targets, [](int32_t target) { return target >= 0; });
  for (int64_t t = 0; block.first < block.n_all; ++t) {
    if (targets[size_t(t)] < 0) continue;
    std::memcpy(block.rows + block.n * n_in, x + t * n_in, size_t(n_in) * sizeof(float));
    block.targets[block.n] = targets[size_t(t)];
    block.numbers[block.n++] = t;
    if (block.n < std::min(most, block.n_all - block.first)) continue;
    body(block);
    block.first += std::exchange(block.n, 0);
  }
}

// Few tokens go another way through linear layers: those of the whole pass count, not of the block.
GroupSize size_of(const Block& block, const NnContext& nn) {
  return {block.n_all, block.n, padded_rows(nn.input, block.n)};
}

// Of rows of x. xa: as in LinearOutput.
void logits_of(float* logits, float* xa, const Head& head, const float* x, const GroupSize& size,
               NnContext& nn) {
  const LinearOutput out = {&head.layer, logits, false, xa};
  const LinearGroup group = {{&out, 1}, {x, nullptr, size.n_rows}};
  linear_forward({&group, 1}, size, nn);
  const int64_t n = size.n_rows * head.layer.n_out();
  if (head.scale != 1) multiply(logits, logits, head.scale, n, nn.pool);
  if (head.softcap > 0) softcap_forward(logits, logits, head.softcap, n, nn.pool);
}

}  // namespace

void head_logits(float* logits, const Head& head, const float* x, int64_t n_tokens, NnContext& nn) {
  logits_of(logits, nullptr, head, x, {n_tokens, n_tokens, padded_rows(nn.input, n_tokens)}, nn);
}

void head_loss_forward(double* losses, const Head& head, const float* x, std::span<const int32_t> targets,
                       NnContext& nn) {
  if (!nn.pool.is_dry()) std::fill(losses, losses + targets.size(), 0.0);
  for_blocks(head, x, targets, nn, [&](const Block& block) {
    const ArenaScope scope(nn.arena);
    const int64_t n = block.n;
    float* logits = nn.arena.take<float>(n * head.layer.n_out());
    double block_losses[kMostHeadTokens];
    logits_of(logits, nullptr, head, block.rows, size_of(block, nn), nn);
    cross_entropy_forward(block_losses, logits, block.targets, n, head.layer.n_out(), nn.pool);
    for (int64_t i = 0; i < n && !nn.pool.is_dry(); ++i) losses[block.numbers[i]] = block_losses[i];
  });
}

void head_loss_backward(float* dx, double* losses, const Head& head, const float* x,
                        std::span<const int32_t> targets, float scale, NnContext& nn) {
  const int64_t n_in = head.layer.n_in();
  if (!nn.pool.is_dry()) std::fill(losses, losses + targets.size(), 0.0);
  for (size_t t = 0; t < targets.size() && !nn.pool.is_dry(); ++t) {
    if (targets[t] < 0) std::fill(dx + int64_t(t) * n_in, dx + int64_t(t + 1) * n_in, 0.0f);
  }
  NnContext block_nn = nn;
  for_blocks(head, x, targets, nn, [&](const Block& block) {
    const ArenaScope scope(nn.arena);
    const int64_t n = block.n, size = n * head.layer.n_out();
    float* logits = nn.arena.take<float>(size);
    float* drows = nn.arena.take<float>(n * n_in);
    float* xa = nn.arena.take<float>(xa_size(head.layer, n));
    double block_losses[kMostHeadTokens];
    logits_of(logits, xa, head, block.rows, size_of(block, nn), nn);
    float* capped = head.softcap > 0 ? nn.arena.take<float>(size) : nullptr;
    if (capped) copy(capped, logits, size, nn.pool);
    cross_entropy_backward(logits, block_losses, block.targets, scale, n, head.layer.n_out(), nn.pool);
    if (capped) softcap_backward(logits, logits, capped, head.softcap, size, nn.pool);
    if (head.scale != 1) multiply(logits, logits, head.scale, size, nn.pool);
    const LinearGradient gradient = {&head.layer, logits, xa, true};
    const LinearGroupGradient gradients = {drows, {&gradient, 1}, {block.rows, nullptr, n}};
    block_nn.first_row = block.first;
    linear_backward({&gradients, 1}, size_of(block, nn), block_nn);
    for (int64_t i = 0; i < n && !nn.pool.is_dry(); ++i) {
      losses[block.numbers[i]] = block_losses[i];
      std::memcpy(dx + block.numbers[i] * n_in, drows + i * n_in, size_t(n_in) * sizeof(float));
    }
  });
}

}  // namespace lora
