// The inner product of two vectors of any floating types, in double precision.
#pragma once

#include <cstdint>

namespace lora {

// In eight chains, which the compiler keeps in vector registers.
template <class X, class Y>
double dot(const X* x, const Y* y, int64_t n) {
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t k = 0; k < 8; ++k) sums[k] += double(x[i + k]) * double(y[i + k]);
  }
  for (; i < n; ++i) sums[0] += double(x[i]) * double(y[i]);
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

}  // namespace lora
