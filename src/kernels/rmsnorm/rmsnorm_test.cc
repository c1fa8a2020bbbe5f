#include "kernels/rmsnorm/rmsnorm.h"

#include <gtest/gtest.h>

#include "kernels/rmsnorm/rmsnorm_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace rmsnorm_test {

using test::kEpsilon, test::Misaligned, test::numbers, test::zeros;

constexpr float kEps = 1e-5f;
// Around the widths of all vectors (4, 8, 16 floats) and of the unrolled loops.
const int64_t kLengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 576};

std::string at(int64_t n) {
  return "n_embd " + std::to_string(n);
}

// The sum of n_embd squares is off by at most n_embd * epsilon, of which the root halves the share;
// a handful of roundings follow.
double relative(int64_t n_embd) {
  return (double(n_embd) / 2 + 8) * kEpsilon;
}

TEST(RmsNorm, ForwardMatchesReference) {
  ThreadPool pool(2);
  for (int64_t n : kLengths) {
    for (bool weighted : {true, false}) {
      Misaligned x(numbers(3 * n, 1)), w(numbers(n, 2)), y(zeros(3 * n));
      rms_norm_forward(y.data(), x.data(), weighted ? w.data() : nullptr, kEps, 3, n, pool);

      const auto x64 = numbers<double>(3 * n, 1), w64 = numbers<double>(n, 2);
      auto want = zeros<double>(3 * n);
      rms_norm_forward_reference(want.data(), x64.data(), weighted ? w64.data() : nullptr, double(kEps), 3,
                                 n);
      test::expect_close(
          y, want, [&](int64_t i) { return relative(n) * std::abs(want[size_t(i)]); }, at(n));
      EXPECT_TRUE(y.guards_intact()) << at(n);
    }
  }
}

TEST(RmsNorm, ForwardInPlace) {
  ThreadPool pool(1);
  auto x = numbers(2 * 100, 1);
  const auto w = numbers(100, 2);
  std::vector<float> y(x.size());
  rms_norm_forward(y.data(), x.data(), w.data(), kEps, 2, 100, pool);
  rms_norm_forward(x.data(), x.data(), w.data(), kEps, 2, 100, pool);
  EXPECT_EQ(x, y);
}

TEST(RmsNorm, BackwardAddsReferenceGradient) {
  ThreadPool pool(2);
  for (int64_t n : kLengths) {
    for (bool weighted : {true, false}) {
      Misaligned x(numbers(3 * n, 1)), w(numbers(n, 2)), dy(numbers(3 * n, 3)), dx(numbers(3 * n, 4));
      rms_norm_backward(dx.data(), dy.data(), x.data(), weighted ? w.data() : nullptr, kEps, 3, n, true,
                        pool);

      const auto x64 = numbers<double>(3 * n, 1), w64 = numbers<double>(n, 2),
                 dy64 = numbers<double>(3 * n, 3);
      auto want = numbers<double>(3 * n, 4);
      rms_norm_backward_reference(want.data(), dy64.data(), x64.data(), weighted ? w64.data() : nullptr,
                                  double(kEps), 3, n, true);
      // Three terms meet: what stood there (below 1), rstd w dy, and x rstd^3 mean(w dy x), both below rstd.
      const auto tolerance = [&](int64_t i) {
        return 2 * relative(n) * (1 + rms_norm_rstd(x64.data() + i / n * n, double(kEps), n));
      };
      test::expect_close(dx, want, tolerance, at(n));
      EXPECT_TRUE(dx.guards_intact()) << at(n);
    }
  }
}

TEST(RmsNorm, BackwardMayOverwriteItsInput) {
  ThreadPool pool(2);
  for (int64_t n : kLengths) {
    const auto x = numbers(3 * n, 1), w = numbers(n, 2), dy = numbers(3 * n, 3);
    auto added = std::vector<float>(x.size()), in_place = x;
    rms_norm_backward(added.data(), dy.data(), x.data(), w.data(), kEps, 3, n, true, pool);
    rms_norm_backward(in_place.data(), dy.data(), in_place.data(), w.data(), kEps, 3, n, false, pool);
    test::expect_close(
        in_place, added, [&](int64_t i) { return kEpsilon * std::abs(added[size_t(i)]); }, at(n));
  }
}

TEST(RmsNorm, WeightGradientMatchesReference) {
  ThreadPool pool(2);
  for (int64_t n : kLengths) {
    const int64_t n_tokens = 131;  // past two blocks of 64
    Misaligned x(numbers(n_tokens * n, 1)), dy(numbers(n_tokens * n, 3)), dw(numbers(n, 5));
    rms_norm_weight_gradient(dw.data(), dy.data(), x.data(), kEps, n_tokens, n, pool);

    const auto x64 = numbers<double>(n_tokens * n, 1), dy64 = numbers<double>(n_tokens * n, 3);
    auto want = numbers<double>(n, 5);
    std::vector<double> rstd(n_tokens), magnitude(static_cast<size_t>(n));
    for (int64_t t = 0; t < n_tokens; ++t) {
      rstd[size_t(t)] = rms_norm_rstd(x64.data() + t * n, double(kEps), n);
      for (int64_t i = 0; i < n; ++i) {
        magnitude[size_t(i)] += std::abs(dy64[size_t(t * n + i)] * x64[size_t(t * n + i)] * rstd[size_t(t)]);
      }
    }
    rms_norm_weight_gradient_reference(want.data(), dy64.data(), x64.data(), rstd.data(), n_tokens, n, 0, n);
    const auto tolerance = [&](int64_t i) {
      return (relative(n) + double(n_tokens) * kEpsilon) * (1 + magnitude[size_t(i)]);
    };
    test::expect_close(dw, want, tolerance, at(n));
    EXPECT_TRUE(dw.guards_intact()) << at(n);
  }
}

TEST(RmsNorm, BackwardIsTheDerivative) {
  const int64_t n_tokens = 2, n = 7;
  auto x = numbers<double>(n_tokens * n, 1), w = numbers<double>(n, 2);
  const auto dy = numbers<double>(n_tokens * n, 3);
  std::vector<double> y(x.size()), dx(x.size()), dw(w.size()), rstd(n_tokens);
  const auto loss = [&] {
    rms_norm_forward_reference(y.data(), x.data(), w.data(), 1e-2, n_tokens, n);
    return test::dot(y, dy);
  };
  rms_norm_backward_reference(dx.data(), dy.data(), x.data(), w.data(), 1e-2, n_tokens, n, false);
  for (int64_t t = 0; t < n_tokens; ++t) rstd[size_t(t)] = rms_norm_rstd(x.data() + t * n, 1e-2, n);
  rms_norm_weight_gradient_reference(dw.data(), dy.data(), x.data(), rstd.data(), n_tokens, n, 0, n);
  test::expect_gradient(loss, x, dx, "x");
  test::expect_gradient(loss, w, dw, "weight");
}

TEST(RmsNorm, SameBitsForAnyThreadCount) {
  const int64_t n_tokens = 77, n = 1000;
  const auto x = numbers(n_tokens * n, 1), w = numbers(n, 2), dy = numbers(n_tokens * n, 3);
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    std::vector<float> y(x.size()), dx(x.size()), dw(w.size());
    rms_norm_forward(y.data(), x.data(), w.data(), kEps, n_tokens, n, pool);
    rms_norm_backward(dx.data(), dy.data(), x.data(), w.data(), kEps, n_tokens, n, true, pool);
    rms_norm_weight_gradient(dw.data(), dy.data(), x.data(), kEps, n_tokens, n, pool);
    y.insert(y.end(), dx.begin(), dx.end());
    y.insert(y.end(), dw.begin(), dw.end());
    results.push_back(y);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

}  // namespace rmsnorm_test
}  // namespace lora
