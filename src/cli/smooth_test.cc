#include "cli/smooth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace lora::cli {
namespace smooth_test {

// A mean of the values before would lie above a falling line; so would one of fewer values at its ends.
TEST(Smoothed, DoesNotLag) {
  std::vector<double> line;
  for (int i = 0; i < 50; ++i) line.push_back(5 - 0.1 * i);
  for (const int window : {3, 10, 49, 1000}) {
    const auto result = smoothed(line, window);
    ASSERT_EQ(result.size(), line.size());
    for (size_t i = 0; i < line.size(); ++i) EXPECT_NEAR(result[i], line[i], 1e-9) << window << " " << i;
  }
}

TEST(Smoothed, IsCentred) {
  std::vector<double> hill(41, 1.0);
  for (size_t i = 18; i <= 22; ++i) hill[i] = 2;  // more than what counts as stray
  const auto result = smoothed(hill, 10);
  for (size_t d = 0; d <= 14; ++d) EXPECT_NEAR(result[20 - d], result[20 + d], 1e-12) << d;
  EXPECT_EQ(std::ranges::max_element(result) - result.begin(), 20);
  EXPECT_GT(result[20], 1.5);
  EXPECT_NEAR(result[20 - 8], 1, 1e-12);  // outside the window
}

// One bad batch would be a hill as wide as the window.
TEST(Smoothed, LeavesOutSingleStrays) {
  std::vector<double> values;
  for (int i = 0; i < 100; ++i) values.push_back(3 + 0.1 * (i % 3));
  const auto expected = smoothed(values, 20);
  values[50] = 70;
  values[51] = 40;
  auto result = smoothed(values, 20);
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(result[i], expected[i], 0.05) << i;
  values[52] = values[53] = values[54] = 40;
  EXPECT_GT(smoothed(values, 20)[52], 10);
}

TEST(Smoothed, TakesAwayWhatScatters) {
  std::vector<double> noisy;
  for (int i = 0; i < 200; ++i) noisy.push_back(3 + (i % 2 ? 0.5 : -0.5));
  for (const int window : {20, 23, 50}) {
    const auto result = smoothed(noisy, window);
    for (size_t i = 25; i + 25 < result.size(); ++i) EXPECT_NEAR(result[i], 3, 0.02) << window;
    for (const double value : result) EXPECT_NEAR(value, 3, 0.15) << window;
  }
}

TEST(Smoothed, SmallWindowsAndFewValuesChangeNothing) {
  const std::vector<double> values = {3, 1, 4, 1, 5};
  for (const int window : {0, 1}) EXPECT_EQ(smoothed(values, window), values);
  EXPECT_EQ(smoothed({3, 1}, 10), (std::vector<double>{3, 1}));
  EXPECT_EQ(smoothed({3}, 10), (std::vector<double>{3}));
  EXPECT_TRUE(smoothed({}, 10).empty());
  for (const double value : smoothed({1e100, -1e100, 1e100, 1}, 4)) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace smooth_test
}  // namespace lora::cli
