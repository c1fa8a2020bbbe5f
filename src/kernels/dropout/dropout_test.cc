#include "kernels/dropout/dropout.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/dropout/dropout_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace dropout_test {

using test::Misaligned, test::numbers;

TEST(Dropout, SameBitsAsTheReferenceForAnyWidthAndThreads) {
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (int64_t n : {1, 7, 8, 16, 31, 100, 20000}) {
      const DropoutMask mask{0.3f, 77};
      Misaligned x(numbers(5 * n, 1)), y(numbers(5 * n, 2));
      std::vector<float> want(y.data(), y.data() + y.size());
      for (bool add : {false, true}) {
        dropout_apply(y.data(), x.data(), 5, n, mask, add, pool);
        for (int64_t t = 0; t < 5; ++t) {
          dropout_row_reference(&want[size_t(t * n)], x.data() + t * n, 0, n, dropout_row_key(mask.key, t),
                                mask.p, add);
        }
        ASSERT_EQ(std::vector<float>(y.data(), y.data() + y.size()), want) << n << (add ? " added" : "");
      }
      EXPECT_TRUE(y.guards_intact()) << n;
    }
  }
}

// The expectation is x: the share of what is kept is 1 - p within five deviations, in all, in each column and
// in each row, and neighbours are independent.
TEST(Dropout, KeepsTheExpectation) {
  ThreadPool pool(1);
  const int64_t n_tokens = 400, n_cols = 500, n = n_tokens * n_cols;
  for (float p : {0.1f, 0.5f, 0.9f}) {
    const std::vector<float> ones(size_t(n), 1.0f);
    std::vector<float> y(ones.size());
    dropout_apply(y.data(), ones.data(), n_tokens, n_cols, {p, 5}, false, pool);
    double sum = 0, pairs = 0;
    std::vector<double> columns(static_cast<size_t>(n_cols)), rows(static_cast<size_t>(n_tokens));
    for (int64_t i = 0; i < n; ++i) {
      const double kept = y[size_t(i)] != 0;
      ASSERT_FLOAT_EQ(y[size_t(i)], kept != 0 ? 1 / (1 - p) : 0);
      sum += kept;
      pairs += kept * (y[size_t((i + 1) % n)] != 0);
      columns[size_t(i % n_cols)] += kept;
      rows[size_t(i / n_cols)] += kept;
    }
    const double q = 1 - double(p), deviation = std::sqrt(q * (1 - q));
    EXPECT_NEAR(sum / double(n), q, 5 * deviation / std::sqrt(double(n))) << p;
    EXPECT_NEAR(pairs / double(n), q * q, 5 * std::sqrt(q * q * (1 - q * q) * 2 / double(n))) << p;
    for (double c : columns)
      EXPECT_NEAR(c / double(n_tokens), q, 5 * deviation / std::sqrt(double(n_tokens))) << p;
    for (double r : rows) EXPECT_NEAR(r / double(n_cols), q, 5 * deviation / std::sqrt(double(n_cols))) << p;
  }
}

TEST(Dropout, KeysGiveIndependentMasks) {
  ThreadPool pool(1);
  const int64_t n = 100000;
  const std::vector<float> ones(size_t(n), 1.0f);
  std::vector<float> a(ones.size()), b(ones.size());
  dropout_apply(a.data(), ones.data(), 1, n, {0.5f, 1}, false, pool);
  dropout_apply(b.data(), ones.data(), 1, n, {0.5f, 2}, false, pool);
  int64_t same = 0;
  for (size_t i = 0; i < a.size(); ++i) same += a[i] == b[i];
  EXPECT_NEAR(double(same) / double(n), 0.5, 5 * 0.5 / std::sqrt(double(n)));
}

}  // namespace dropout_test
}  // namespace lora
