// What the kernels' tests share: numbers to compute with, derivatives by differences, and
// comparison with a tolerance per element.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"

namespace lora::test {

// n numbers uniform in [-range, range); every stream differs.
template <class T = float>
std::vector<T> numbers(int64_t n, uint64_t stream, double range = 1) {
  std::vector<T> result(static_cast<size_t>(n));
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = T(range * (2 * double(random_uniform(1, Purpose::test, stream, i)) - 1));
  }
  return result;
}

template <class T = float>
std::vector<T> zeros(int64_t n) {
  return std::vector<T>(static_cast<size_t>(n));
}

template <class To, class From>
std::vector<To> cast(const std::vector<From>& from) {
  return std::vector<To>(from.begin(), from.end());
}

// The same numbers one float past an aligned address, so that vector loads straddle cache lines. A
// guard value stands on both sides.
class Misaligned {
 public:
  explicit Misaligned(const std::vector<float>& values) : storage_(values.size() + 2 * kPad, kGuard) {
    std::copy(values.begin(), values.end(), data());
  }
  float* data() { return storage_.data() + kPad; }
  int64_t size() const { return int64_t(storage_.size()) - 2 * kPad; }
  float& operator[](int64_t i) { return data()[i]; }
  // Whether nothing was written before or behind the numbers.
  bool guards_intact() const {
    const auto guard = [](float f) { return f == kGuard; };
    return std::all_of(storage_.begin(), storage_.begin() + kPad, guard) &&
           std::all_of(storage_.end() - kPad, storage_.end(), guard);
  }

 private:
  static constexpr int64_t kPad = 17;
  static constexpr float kGuard = -12345.0f;
  std::vector<float> storage_;
};

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

// got[i] within tolerance(i) of want[i], for all i; reports the first that is not.
template <class Got, class Want, class Tolerance>
void expect_close(Got&& got, const Want& want, const Tolerance& tolerance, const std::string& what) {
  for (int64_t i = 0; i < int64_t(want.size()); ++i) {
    const double difference = std::abs(double(got[i]) - double(want[size_t(i)]));
    ASSERT_LE(difference, tolerance(i))
        << what << ", element " << i << ": " << got[i] << " for " << want[size_t(i)];
  }
}

// df/dx by differences of fourth order: with steps of 1e-3 and f, x near 1 it is right to some 1e-11.
template <class F>
double derivative(const F& f, double& x) {
  constexpr double h = 1e-3;
  const double at = x;
  const auto shifted = [&](double by) {
    x = at + by;
    return f();
  };
  const double result = (8 * (shifted(h) - shifted(-h)) - (shifted(2 * h) - shifted(-2 * h))) / (12 * h);
  x = at;
  return result;
}

// gradient[i] = df/dx[i] for all i, to 1e-6 of the gradient's largest element.
template <class F>
void expect_gradient(const F& f, std::vector<double>& x, const std::vector<double>& gradient,
                     const std::string& what) {
  double largest = 0;
  for (double g : gradient) largest = std::max(largest, std::abs(g));
  ASSERT_GT(largest, 0) << what;
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_NEAR(gradient[i], derivative(f, x[i]), 1e-6 * largest) << what << ", element " << i;
  }
}

template <class T>
T dot(const std::vector<T>& a, const std::vector<T>& b) {
  T sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace lora::test
