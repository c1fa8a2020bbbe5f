#include "nn/norm.h"

#include "kernels/layernorm/layernorm.h"
#include "kernels/rmsnorm/rmsnorm.h"

namespace lora {

void norm_forward(float* y, const float* x, const Norm& norm, int64_t n_rows, ThreadPool& pool) {
  if (norm.kind == NormKind::layer) {
    return layer_norm_forward(y, x, norm.weight(), norm.bias.data(), norm.eps, n_rows, norm.n(), pool);
  }
  rms_norm_forward(y, x, norm.weight(), norm.eps, n_rows, norm.n(), pool);
}

void norm_backward(float* dx, const float* dy, const float* x, const Norm& norm, int64_t n_rows, bool add,
                   ThreadPool& pool) {
  const bool layer = norm.kind == NormKind::layer;
  if (norm.gradient) {
    const auto weight_gradient = layer ? layer_norm_weight_gradient : rms_norm_weight_gradient;
    weight_gradient(norm.gradient, dy, x, norm.eps, n_rows, norm.n(), pool);
  }
  const auto backward = layer ? layer_norm_backward : rms_norm_backward;
  if (dx) backward(dx, dy, x, norm.weight(), norm.eps, n_rows, norm.n(), add, pool);
}

}  // namespace lora
