#include "kernels/optimizer/adamw.h"

#include <gtest/gtest.h>

#include "kernels/optimizer/adamw_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace adamw_test {

using test::cast, test::kEpsilon, test::Misaligned, test::numbers;

std::vector<float> squares(std::vector<float> x) {
  for (float& f : x) f *= f;
  return x;
}

TEST(AdamW, MatchesReference) {
  ThreadPool pool(2);
  for (int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 1000}) {
    AdamWStep step{.lr = 0.01, .decay = 0.1, .gradient_scale = 0.5f, .t = 10};
    Misaligned p(numbers(n, 1)), m(numbers(n, 2)), v(squares(numbers(n, 3))), g(numbers(n, 4));
    adamw_update(p.data(), m.data(), v.data(), g.data(), n, step, pool);

    auto p64 = numbers<double>(n, 1), m64 = numbers<double>(n, 2), g64 = numbers<double>(n, 4);
    auto v64 = cast<double>(squares(numbers(n, 3)));
    adamw_update_reference(p64.data(), m64.data(), v64.data(), g64.data(), n, AdamWFactors<double>(step));
    const std::string what = "n " + std::to_string(n);
    // Each moment is two products and a sum of numbers below 1. p is below 1, what it moves by is good to
    // 8 epsilon and an epsilon of m's share, times lr / sqrt(v) which blows up where v is small.
    test::expect_close(
        m, m64, [](int64_t) { return 2 * kEpsilon; }, what + " m");
    test::expect_close(
        v, v64, [&](int64_t i) { return 4 * kEpsilon * v64[size_t(i)]; }, what + " v");
    const AdamWFactors<double> f(step);
    const auto tolerance = [&](int64_t i) {
      const double slope = f.step_size / (std::sqrt(v64[size_t(i)]) * f.root_correction + f.eps);
      return 2 * kEpsilon + 8 * kEpsilon * slope;
    };
    test::expect_close(p, p64, tolerance, what + " p");
    EXPECT_TRUE(p.guards_intact() && m.guards_intact() && v.guards_intact()) << what;
  }
}

// With both corrections the first step is lr in the gradient's direction, whatever its size.
TEST(AdamW, FirstStepIsTheLearningRate) {
  ThreadPool pool(1);
  std::vector<float> p(6, 0.0f), m(6), v(6), g = {1e-4f, -1e-4f, 1, -1, 1e4f, -1e4f};
  adamw_update(p.data(), m.data(), v.data(), g.data(), 6, {.lr = 0.1, .eps = 1e-12}, pool);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(p[i], g[i] > 0 ? -0.1 : 0.1, 1e-6) << i;
}

TEST(AdamW, DecayIsDecoupledFromTheGradient) {
  ThreadPool pool(1);
  std::vector<float> p(20, 2.0f), m(20), v(20), g(20);
  adamw_update(p.data(), m.data(), v.data(), g.data(), 20, {.lr = 0.1, .decay = 0.5}, pool);
  for (float f : p) EXPECT_FLOAT_EQ(f, 2.0f * (1 - 0.1f * 0.5f));
  for (float f : m) EXPECT_EQ(f, 0);
}

TEST(AdamW, GradientScaleIsAppliedBeforeTheMoments) {
  ThreadPool pool(1);
  std::vector<float> p(20), m(20), v(20), g(20, 4.0f);
  adamw_update(p.data(), m.data(), v.data(), g.data(), 20, {.gradient_scale = 0.25f}, pool);
  for (float f : m) EXPECT_FLOAT_EQ(f, 0.1f);
  for (float f : v) EXPECT_FLOAT_EQ(f, 0.001f);
}

// Minimizing (p - 3)^2: an optimizer that descends gets there.
TEST(AdamW, FindsTheMinimum) {
  ThreadPool pool(1);
  std::vector<float> p(5), m(5), v(5), g(5);
  for (int64_t t = 1; t <= 2000; ++t) {
    for (size_t i = 0; i < 5; ++i) g[i] = 2 * (p[i] - 3);
    adamw_update(p.data(), m.data(), v.data(), g.data(), 5, {.lr = 0.02, .t = t}, pool);
  }
  for (float f : p) EXPECT_NEAR(f, 3, 1e-3);
}

TEST(AdamW, SameBitsForAnyThreadCount) {
  const int64_t n = 100003;
  const auto g = numbers(n, 4);
  std::vector<std::vector<float>> results;
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    auto p = numbers(n, 1), m = numbers(n, 2), v = squares(numbers(n, 3));
    adamw_update(p.data(), m.data(), v.data(), g.data(), n, {.decay = 0.1, .t = 3}, pool);
    results.push_back(p);
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(SumOfSquares, MatchesReferenceForAnyThreadCount) {
  ThreadPool one(1), three(3);
  for (int64_t n : {0, 1, 3, 4, 5, 8, 15, 16, 17, 33, 16384, 16385, 100003}) {
    Misaligned x(numbers(n, 1));
    const double want = sum_of_squares_reference(x.data(), n);
    const double got = sum_of_squares(x.data(), n, one);
    EXPECT_NEAR(got, want, 1e-15 * double(n) * want) << n;
    EXPECT_EQ(got, sum_of_squares(x.data(), n, three)) << n;
  }
}

TEST(SumOfSquares, TinyNumbersDoNotUnderflow) {
  ThreadPool pool(1);
  const std::vector<float> x(100, 1e-30f);
  EXPECT_NEAR(sum_of_squares(x.data(), 100, pool), 100e-60, 1e-64);
}

}  // namespace adamw_test
}  // namespace lora
