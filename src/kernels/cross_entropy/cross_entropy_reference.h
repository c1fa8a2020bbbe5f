// The plain form of cross_entropy.h, one row at a time: the `scalar` kernel set with T = float, the
// finite-difference tests with T = double. Returns the row's loss.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/elementary.h"

namespace lora {

template <class T>
double cross_entropy_forward_reference(const T* logits, int32_t target, int64_t n_vocab) {
  if (target < 0) return 0;
  const T max = *std::max_element(logits, logits + n_vocab);
  double sum = 0;
  for (int64_t j = 0; j < n_vocab; ++j) sum += double(elementary::exp(logits[j] - max));
  return elementary::log(sum) + (double(max) - double(logits[target]));
}

template <class T>
double cross_entropy_backward_reference(T* logits, int32_t target, T scale, int64_t n_vocab) {
  if (target < 0) {
    std::fill(logits, logits + n_vocab, T(0));
    return 0;
  }
  const T max = *std::max_element(logits, logits + n_vocab);
  const double target_logit = double(logits[target]);
  double sum = 0;
  for (int64_t j = 0; j < n_vocab; ++j) {
    logits[j] = elementary::exp(logits[j] - max);
    sum += double(logits[j]);
  }
  const T factor = T(double(scale) / sum);
  for (int64_t j = 0; j < n_vocab; ++j) logits[j] *= factor;
  logits[target] -= scale;
  return elementary::log(sum) + (double(max) - target_logit);
}

}  // namespace lora
