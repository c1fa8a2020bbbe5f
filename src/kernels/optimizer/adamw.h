// AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019), with the order of
// operations of PyTorch's torch.optim.AdamW.
//
//   g <- g * gradient_scale,   p <- p * (1 - lr * decay)
//   m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2
//   p <- p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace lora {

// In f64, so that 1 - beta and the bias corrections are exact before they are rounded to f32.
struct AdamWStep {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double decay = 0;          // 0 for parameters that do not decay
  float gradient_scale = 1;  // e.g. what clips the global norm
  int64_t t = 1;             // this step's number, from 1
};

// p, m and v are updated in place; g is read.
void adamw_update(float* p,        // (n) parameters
                  float* m,        // (n) first moment
                  float* v,        // (n) second moment
                  const float* g,  // (n) gradient
                  int64_t n, const AdamWStep& step, ThreadPool& pool);

// Sum of x_i^2 in f64: blocks of fixed size, added in order, so that the result does not depend
// on the number of threads.
double sum_of_squares(const float* x, int64_t n, ThreadPool& pool);

}  // namespace lora
