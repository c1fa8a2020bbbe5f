#include "nn/body.h"

#include "nn/elementwise.h"

namespace lora {

const float* BodyInput::normed(NnContext& nn) const {
  if (!norm_) return x_;
  float* normed = nn.arena.take<float>(n_tokens_ * n_embd_);
  norm_forward(normed, x_, norm_, n_tokens_, nn.pool);
  return normed;
}

float* BodyInput::gradient_place(const float* normed, NnContext& nn) const {
  return normed == x_ ? nn.arena.take<float>(n_tokens_ * n_embd_) : const_cast<float*>(normed);
}

void BodyInput::add_gradient(float* dx, const float* dnormed, NnContext& nn) const {
  if (norm_) return norm_backward(dx, dnormed, x_, norm_, n_tokens_, true, nn.pool);
  if (dx) add(dx, dnormed, 1, n_tokens_ * n_embd_, nn.pool);
}

}  // namespace lora
