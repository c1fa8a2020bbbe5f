#include "nn/head.h"

#include <algorithm>
#include <cstring>

#include "kernels/activation/softcap.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "nn/elementwise.h"

namespace lora {
namespace {

// Runs body on blocks of tokens that have a target, gathered: rows of x, their targets and numbers.
template <class Body>
void for_blocks(const Head& head, const float* x, std::span<const int32_t> targets, NnContext& nn,
                const Body& body) {
  const ProfileScope part(nn.profile, Part::head);
  const ArenaScope scope(nn.arena);
  const int64_t n_in = head.layer.n_in();
  float* rows = nn.arena.take<float>(kHeadTokens * n_in);
  int32_t block_targets[kHeadTokens] = {};
  int64_t numbers[kHeadTokens] = {};
  // A dry run has no targets to look at; no block is larger than the first.
  if (nn.pool.is_dry())
    return body(rows, block_targets, numbers, std::min(kHeadTokens, int64_t(targets.size())));
  for (int64_t t = 0, n = 0; t < int64_t(targets.size()); ++t) {
    if (targets[size_t(t)] >= 0) {
      std::memcpy(rows + n * n_in, x + t * n_in, size_t(n_in) * sizeof(float));
      block_targets[n] = targets[size_t(t)];
      numbers[n++] = t;
    }
    if (n > 0 && (n == kHeadTokens || t + 1 == int64_t(targets.size()))) {
      body(rows, block_targets, numbers, n);
      n = 0;
    }
  }
}

// What becomes of the layer's output.
void finish(float* logits, const Head& head, int64_t n, ThreadPool& pool) {
  if (head.scale != 1) multiply(logits, logits, head.scale, n, pool);
  if (head.softcap > 0) softcap_forward(logits, logits, head.softcap, n, pool);
}

}  // namespace

void head_logits(float* logits, const Head& head, const float* x, int64_t n_tokens, NnContext& nn) {
  const LinearOutput out = {&head.layer, logits};
  linear_forward({&out, 1}, x, n_tokens, nn);
  finish(logits, head, n_tokens * head.layer.n_out(), nn.pool);
}

void head_loss_forward(double* losses, const Head& head, const float* x, std::span<const int32_t> targets,
                       NnContext& nn) {
  if (!nn.pool.is_dry()) std::fill(losses, losses + targets.size(), 0.0);
  for_blocks(head, x, targets, nn, [&](float* rows, const int32_t* block, const int64_t* numbers, int64_t n) {
    const ArenaScope scope(nn.arena);
    float* logits = nn.arena.take<float>(n * head.layer.n_out());
    double block_losses[kHeadTokens];
    head_logits(logits, head, rows, n, nn);
    cross_entropy_forward(block_losses, logits, block, n, head.layer.n_out(), nn.pool);
    for (int64_t i = 0; i < n && !nn.pool.is_dry(); ++i) losses[numbers[i]] = block_losses[i];
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
  for_blocks(head, x, targets, nn, [&](float* rows, const int32_t* block, const int64_t* numbers, int64_t n) {
    const ArenaScope scope(nn.arena);
    float* logits = nn.arena.take<float>(n * head.layer.n_out());
    float* drows = nn.arena.take<float>(n * n_in);
    float* xa = nn.arena.take<float>(xa_size(head.layer, n));
    double block_losses[kHeadTokens];
    const LinearOutput out = {&head.layer, logits, false, xa};
    linear_forward({&out, 1}, rows, n, nn);
    const int64_t size = n * head.layer.n_out();
    finish(logits, head, size, nn.pool);
    float* capped = head.softcap > 0 ? nn.arena.take<float>(size) : nullptr;
    if (capped) copy(capped, logits, size, nn.pool);
    cross_entropy_backward(logits, block_losses, block, scale, n, head.layer.n_out(), nn.pool);
    if (capped) softcap_backward(logits, logits, capped, head.softcap, size, nn.pool);
    if (head.scale != 1) multiply(logits, logits, head.scale, size, nn.pool);
    const LinearGradient gradient = {&head.layer, logits, xa, true};
    linear_backward(drows, {&gradient, 1}, rows, n, block_nn);
    ++block_nn.part;
    for (int64_t i = 0; i < n && !nn.pool.is_dry(); ++i) {
      losses[numbers[i]] = block_losses[i];
      std::memcpy(dx + numbers[i] * n_in, drows + i * n_in, size_t(n_in) * sizeof(float));
    }
  });
}

}  // namespace lora
