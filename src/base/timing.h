// Wall time of a call, and the middle of several.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace lora {

template <class Body>
double seconds(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of at least one value; of an even number the mean of the middle two.
inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

}  // namespace lora
