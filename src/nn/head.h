// The output layer and the loss together, a block of tokens at a time (NnContext::head_tokens): logits
// of no more tokens exist at once. The loss is the cross-entropy of the targets (kernels/cross_entropy);
// tokens without a target cost nothing.
#pragma once

#include <cstdint>
#include <span>

#include "nn/linear.h"

namespace lora {

// Logits are scale * layer(x), and with a cap c they become c tanh(logit / c).
struct Head {
  const Linear& layer;
  float scale = 1;
  float softcap = 0;
};

// logits (n_tokens, n_vocab) of x (n_tokens, n_embd), all at once: for at most kHeadTokens.
void head_logits(float* logits, const Head& head, const float* x, int64_t n_tokens, NnContext& nn);

// losses[t] = -ln softmax(head(x_t))[target_t], 0 where target_t < 0.  x: (n_tokens, n_embd).
void head_loss_forward(double* losses, const Head& head, const float* x, std::span<const int32_t> targets,
                       NnContext& nn);

// The same, and dx (n_tokens, n_embd) = d(scale * sum of losses) / dx; adapters' gradients are added to.
// dx may be x.
void head_loss_backward(float* dx, double* losses, const Head& head, const float* x,
                        std::span<const int32_t> targets, float scale, NnContext& nn);

}  // namespace lora
