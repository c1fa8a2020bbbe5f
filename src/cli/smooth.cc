#include "cli/smooth.h"

#include <algorithm>
#include <cmath>

namespace lora::cli {

namespace {

// Far is so many times the distance from the window's median that three of four values stay within: 8
// standard deviations of a normal one.
constexpr double kFar = 7;
constexpr int64_t kMostInARow = 2;  // more are no accident, but what the values do
// The slope at the last values is that of so many times as long a stretch: noise would turn a shorter one's.
// A run falls fast at its start, where a longer one's would be too small.
constexpr int64_t kLastStretch = 3;

double quantile(std::vector<double>& values, int64_t numerator, int64_t denominator) {
  const auto at = values.begin() + std::ssize(values) * numerator / denominator;
  std::ranges::nth_element(values, at);
  return *at;
}

// Which values count.
std::vector<bool> without_strays(const std::vector<double>& values, int64_t reach) {
  const auto n = std::ssize(values);
  std::vector<bool> counts(values.size(), true);
  std::vector<double> around;
  int64_t n_far = 0;
  for (int64_t i = 0; i <= n; ++i) {
    bool is_far = false;
    if (i < n) {
      around.assign(values.begin() + std::max<int64_t>(0, i - reach),
                    values.begin() + std::min(n, i + reach + 1));
      const double median = quantile(around, 1, 2);
      for (double& value : around) value = std::abs(value - median);
      is_far = std::abs(values[size_t(i)] - median) > kFar * quantile(around, 3, 4);
    }
    if (is_far) {
      ++n_far;
      continue;
    }
    // What begins or ends the values has neighbours on one side only.
    if (n_far <= kMostInARow && i - n_far > 0 && i < n) {
      for (int64_t k = i - n_far; k < i; ++k) counts[size_t(k)] = false;
    }
    n_far = 0;
  }
  return counts;
}

// Weighted sums over what lies within `reach` of a place; distances are counted from there.
struct Sums {
  double w = 0, wd = 0, wdd = 0, wy = 0, wdy = 0;
  Sums(const std::vector<double>& values, const std::vector<bool>& counts, int64_t at, int64_t reach) {
    const auto n = std::ssize(values);
    for (int64_t d = std::max(-reach, -at); d <= std::min(reach, n - 1 - at); ++d) {
      if (!counts[size_t(at + d)]) continue;
      const double weight = 1 - std::abs(double(d)) / double(reach + 1), y = values[size_t(at + d)];
      w += weight;
      wd += weight * double(d);
      wdd += weight * double(d * d);
      wy += weight * y;
      wdy += weight * double(d) * y;
    }
  }
  double slope() const {
    const double spread = w * wdd - wd * wd;
    return spread > 0 ? (w * wdy - wd * wy) / spread : 0;
  }
};

}  // namespace

std::vector<double> smoothed(const std::vector<double>& values, int64_t window) {
  const auto n = std::ssize(values);
  const int64_t reach = std::min(window / 2, n - 1);
  if (reach < 1 || n < 3) return values;
  const std::vector<bool> counts = without_strays(values, reach);
  std::vector<double> result;
  for (int64_t i = 0; i < n; ++i) {
    const Sums near(values, counts, i, reach);
    const double offset = near.wd / near.w;  // of the mean's place
    const int64_t stretch = i + reach < n ? 1 : kLastStretch;
    const double slope = offset == 0 ? 0 : Sums(values, counts, i, stretch * reach).slope();
    result.push_back(near.wy / near.w - slope * offset);
  }
  return result;
}

}  // namespace lora::cli
