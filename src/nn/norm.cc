#include "nn/norm.h"

#include "kernels/rmsnorm/rmsnorm.h"

namespace lora {

void norm_forward(float* y, const float* x, const Norm& norm, int64_t n_rows, ThreadPool& pool) {
  rms_norm_forward(y, x, norm.weight(), norm.eps, n_rows, norm.n(), pool);
}

void norm_backward(float* dx, const float* dy, const float* x, const Norm& norm, int64_t n_rows, bool add,
                   ThreadPool& pool) {
  if (norm.gradient) rms_norm_weight_gradient(norm.gradient, dy, x, norm.eps, n_rows, norm.n(), pool);
  if (dx) rms_norm_backward(dx, dy, x, norm.weight(), norm.eps, n_rows, norm.n(), add, pool);
}

}  // namespace lora
