// Softmax and negative log-likelihood of the target token, row by row.
//
//   loss_t = ln sum_j exp(z_tj) - z_t,target
//   dz_tj  = scale * (softmax(z_t)_j - [j = target])
//
// A target < 0 marks a row that is not trained on: loss 0, gradient zero. Other targets must be
// below n_vocab (the caller checks them). exp is taken in f32 of z - max z; its sum is kept in f32
// lanes for at most kCrossEntropyBlock columns and then added to a double, so its relative
// error stays near 1e-7 for any vocabulary. Losses are f64. Logits that are NaN, or +infinity, give a
// NaN loss and gradient. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace lora {

constexpr int64_t kCrossEntropyBlock = 4096;

void cross_entropy_forward(double* losses,          // (n)
                           const float* logits,     // (n, n_vocab)
                           const int32_t* targets,  // (n)
                           int64_t n, int64_t n_vocab, ThreadPool& pool);

void cross_entropy_backward(float* logits,           // (n, n_vocab): in the logits, out their gradient
                            double* losses,          // (n)
                            const int32_t* targets,  // (n)
                            float scale, int64_t n, int64_t n_vocab, ThreadPool& pool);

}  // namespace lora
