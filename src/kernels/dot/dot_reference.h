// sum_i x[i] y[i] as a plain loop.
#pragma once

#include <cstdint>

namespace lora {

template <class T>
T dot_reference(const T* x, const T* y, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

}  // namespace lora
