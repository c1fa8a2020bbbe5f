#include "nn/norm.h"

#include "kernels/rmsnorm/rmsnorm.h"

namespace lora {

void norm_forward(float* y, const float* x, const Norm& norm, float eps, int64_t n_tokens, ThreadPool& pool) {
  rms_norm_forward(y, x, norm.weight(), eps, n_tokens, norm.gain.size(), pool);
}

void norm_backward(float* dx, const float* dy, const float* x, const Norm& norm, float eps, int64_t n_tokens,
                   bool add, ThreadPool& pool) {
  const int64_t n_embd = norm.gain.size();
  if (norm.gradient) rms_norm_weight_gradient(norm.gradient, dy, x, eps, n_tokens, n_embd, pool);
  if (dx) rms_norm_backward(dx, dy, x, norm.weight(), eps, n_tokens, n_embd, add, pool);
}

}  // namespace lora
