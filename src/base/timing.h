// Wall time from a moment on and of a call, and the middle of several.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace lora {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class Body>
double seconds(const Body& body) {
  const Clock::time_point start = Clock::now();
  body();
  return seconds_since(start);
}

// Of at least one value; of an even number the mean of the middle two.
inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

}  // namespace lora
