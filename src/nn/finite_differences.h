// For tests of backward passes: slopes of the same function in double.
#pragma once

#include <functional>
#include <vector>

namespace lora::test {

// d f / d v by central differences. f is about linear in so small a step; in double, with numbers near 1, the
// error is near 1e-9.
inline std::vector<double> finite_differences(std::vector<double>& v, const std::function<double()>& f) {
  constexpr double kStep = 1e-5;
  std::vector<double> d;
  for (double& value : v) {
    const double at = value;
    value = at + kStep;
    const double above = f();
    value = at - kStep;
    d.push_back((above - f()) / (2 * kStep));
    value = at;
  }
  return d;
}

}  // namespace lora::test
