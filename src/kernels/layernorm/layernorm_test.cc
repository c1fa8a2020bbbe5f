#include "kernels/layernorm/layernorm.h"

#include <gtest/gtest.h>

#include "kernels/layernorm/layernorm_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace layernorm_test {

using test::cast, test::kEpsilon, test::Misaligned, test::numbers, test::zeros;

constexpr float kEps = 1e-5f;
constexpr int64_t kRows = 3;
// Around the widths of all vectors (4, 8, 16 floats) and of the unrolled loops.
const int64_t kLengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 576};

std::string at(int64_t n) {
  return "n_embd " + std::to_string(n);
}

// Rows around 0, around 3 and around -100: what the mean must be taken from before it is squared.
template <class T = float>
std::vector<T> rows(int64_t n) {
  auto x = numbers<float>(kRows * n, 1);
  const float means[kRows] = {0, 3, -100};
  for (int64_t i = 0; i < kRows * n; ++i) x[size_t(i)] += means[i / n];
  return cast<T>(x);
}

// What a row's numbers can be off by: sums of n differences, each off by n epsilon of the largest at most,
// and of a mean whose own rounding is made good.
struct RowError {
  RowError(const double* x, int64_t n) : m(layer_norm_moments(x, double(kEps), n)) {
    const double steps = (double(n) + 8) * kEpsilon;
    double largest = 0;
    for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(m.center(x[i])));
    center = steps * (largest + steps * std::abs(m.mean));
    normal = center * m.rstd + steps;  // of a number below 1 / sqrt(eps) that is 1 on average
    largest_normal = largest * m.rstd;
  }
  LayerNormMoments<double> m;
  double center, normal, largest_normal;
};

TEST(LayerNorm, ForwardMatchesReference) {
  ThreadPool pool(2);
  for (int64_t n : kLengths) {
    for (int given = 0; given < 4; ++given) {
      Misaligned x(rows(n)), w(numbers(n, 2)), b(numbers(n, 3)), y(zeros(kRows * n));
      const bool weighted = given & 1, biased = given & 2;
      layer_norm_forward(y.data(), x.data(), weighted ? w.data() : nullptr, biased ? b.data() : nullptr, kEps,
                         kRows, n, pool);

      const auto x64 = rows<double>(n), w64 = numbers<double>(n, 2), b64 = numbers<double>(n, 3);
      auto want = zeros<double>(kRows * n);
      layer_norm_forward_reference(want.data(), x64.data(), weighted ? w64.data() : nullptr,
                                   biased ? b64.data() : nullptr, double(kEps), kRows, n);
      const std::string what = at(n) + (weighted ? ", weighted" : "") + (biased ? ", biased" : "");
      const auto tolerance = [&](int64_t i) {
        const RowError error(x64.data() + i / n * n, n);
        return error.normal * (1 + error.largest_normal) + 4 * kEpsilon;
      };
      test::expect_close(y, want, tolerance, what);
      EXPECT_TRUE(y.guards_intact()) << what;
    }
  }
}

// A spread of 1 around a million, in steps of 1/16 that f32 still holds: a mean rounded to f32 alone is off
// by 1/32, and squares that are summed before it is taken off leave nothing of the variance.
TEST(LayerNorm, LargeMeanCostsNoDigits) {
  ThreadPool pool(1);
  const int64_t n = 1000;
  auto x = numbers(n, 1, 16), y = zeros(n), dx = zeros(n), dw = zeros(n);
  const auto dy = numbers(n, 2);
  for (float& x_i : x) x_i = 1e6f + std::round(x_i) / 16;
  layer_norm_forward(y.data(), x.data(), nullptr, nullptr, kEps, 1, n, pool);
  layer_norm_backward(dx.data(), dy.data(), x.data(), nullptr, kEps, 1, n, false, pool);
  layer_norm_weight_gradient(dw.data(), dy.data(), x.data(), kEps, 1, n, pool);

  const auto x64 = cast<double>(x), dy64 = cast<double>(dy);
  auto want = zeros<double>(n), want_dx = want, want_dw = want;
  const double* none = nullptr;
  layer_norm_forward_reference(want.data(), x64.data(), none, none, double(kEps), 1, n);
  layer_norm_backward_reference(want_dx.data(), dy64.data(), x64.data(), none, double(kEps), 1, n, false);
  const auto m = layer_norm_moments(x64.data(), double(kEps), n);
  layer_norm_weight_gradient_reference(want_dw.data(), dy64.data(), x64.data(), &m, 1, n, 0, n);
  const auto tolerance = [](int64_t) { return 50 * kEpsilon; };  // the numbers are below 2
  test::expect_close(y, want, tolerance, "y");
  test::expect_close(dx, want_dx, tolerance, "dx");
  test::expect_close(dw, want_dw, tolerance, "dw");
}

// A row of one number over and over has no spread: y is the bias.
TEST(LayerNorm, ConstantRowIsTheBias) {
  ThreadPool pool(1);
  const int64_t n = 100;
  const std::vector<float> x(size_t(n), 1234.567f);
  const auto w = numbers(n, 1), b = numbers(n, 2);
  auto y = zeros(n);
  layer_norm_forward(y.data(), x.data(), w.data(), b.data(), kEps, 1, n, pool);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], b[i], 1e-5) << i;
}

TEST(LayerNorm, ForwardInPlace) {
  ThreadPool pool(1);
  auto x = rows(100);
  const auto w = numbers(100, 1), b = numbers(100, 2);
  std::vector<float> y(x.size());
  layer_norm_forward(y.data(), x.data(), w.data(), b.data(), kEps, kRows, 100, pool);
  layer_norm_forward(x.data(), x.data(), w.data(), b.data(), kEps, kRows, 100, pool);
  EXPECT_EQ(x, y);
}

TEST(LayerNorm, BackwardAddsReferenceGradient) {
  ThreadPool pool(2);
  for (int64_t n : kLengths) {
    for (bool weighted : {true, false}) {
      Misaligned x(rows(n)), w(numbers(n, 2)), dy(numbers(kRows * n, 3)), dx(numbers(kRows * n, 4));
      layer_norm_backward(dx.data(), dy.data(), x.data(), weighted ? w.data() : nullptr, kEps, kRows, n, true,
                          pool);

      const auto x64 = rows<double>(n), w64 = numbers<double>(n, 2), dy64 = numbers<double>(kRows * n, 3);
      auto want = numbers<double>(kRows * n, 4);
      layer_norm_backward_reference(want.data(), dy64.data(), x64.data(), weighted ? w64.data() : nullptr,
                                    double(kEps), kRows, n, true);
      // What stood there (below 1), and rstd times three terms: w dy, its mean, and the normal number times
      // the mean of w dy times one.
      const auto tolerance = [&](int64_t i) {
        const RowError error(x64.data() + i / n * n, n);
        const double normal = 1 + error.largest_normal;
        return 2 * kEpsilon + 4 * error.m.rstd * error.normal * normal * normal;
      };
      test::expect_close(dx, want, tolerance, at(n) + (weighted ? ", weighted" : ""));
      EXPECT_TRUE(dx.guards_intact()) << at(n);
    }
  }
}

TEST(LayerNorm, BackwardMayOverwriteItsInput) {
  ThreadPool pool(2);
  for (int64_t n : kLengths) {
    const auto x = rows(n), w = numbers(n, 2), dy = numbers(kRows * n, 3);
    auto added = std::vector<float>(x.size()), in_place = x;
    layer_norm_backward(added.data(), dy.data(), x.data(), w.data(), kEps, kRows, n, true, pool);
    layer_norm_backward(in_place.data(), dy.data(), in_place.data(), w.data(), kEps, kRows, n, false, pool);
    EXPECT_EQ(in_place, added) << at(n);
  }
}

TEST(LayerNorm, WeightGradientMatchesReference) {
  ThreadPool pool(2);
  for (int64_t n : kLengths) {
    const int64_t n_tokens = 131;  // past two blocks of 64
    auto values = numbers(n_tokens * n, 1);
    for (float& x : values) x += 5;
    Misaligned x(values), dy(numbers(n_tokens * n, 3)), dw(numbers(n, 5));
    layer_norm_weight_gradient(dw.data(), dy.data(), x.data(), kEps, n_tokens, n, pool);

    const auto x64 = cast<double>(values), dy64 = numbers<double>(n_tokens * n, 3);
    auto want = numbers<double>(n, 5);
    std::vector<LayerNormMoments<double>> moments;
    double error = 0;
    for (int64_t t = 0; t < n_tokens; ++t) {
      const RowError row(x64.data() + t * n, n);
      moments.push_back(row.m);
      error += row.normal + kEpsilon * double(n_tokens) * row.largest_normal;
    }
    layer_norm_weight_gradient_reference(want.data(), dy64.data(), x64.data(), moments.data(), n_tokens, n, 0,
                                         n);
    test::expect_close(
        dw, want, [&](int64_t) { return error + kEpsilon; }, at(n));
    EXPECT_TRUE(dw.guards_intact()) << at(n);
  }
}

TEST(LayerNorm, BackwardIsTheDerivative) {
  const int64_t n_tokens = 2, n = 7;
  auto x = numbers<double>(n_tokens * n, 1), w = numbers<double>(n, 2);
  const auto dy = numbers<double>(n_tokens * n, 3), b = numbers<double>(n, 4);
  for (double& x_i : x) x_i += 2;
  std::vector<double> y(x.size()), dx(x.size()), dw(w.size());
  for (const double* weight : {static_cast<const double*>(w.data()), static_cast<const double*>(nullptr)}) {
    const auto loss = [&] {
      layer_norm_forward_reference(y.data(), x.data(), weight, b.data(), 1e-2, n_tokens, n);
      return test::dot(y, dy);
    };
    layer_norm_backward_reference(dx.data(), dy.data(), x.data(), weight, 1e-2, n_tokens, n, false);
    test::expect_gradient(loss, x, dx, "x");
    if (weight) {
      const LayerNormMoments<double> moments[] = {layer_norm_moments(x.data(), 1e-2, n),
                                                  layer_norm_moments(x.data() + n, 1e-2, n)};
      layer_norm_weight_gradient_reference(dw.data(), dy.data(), x.data(), moments, n_tokens, n, 0, n);
      test::expect_gradient(loss, w, dw, "weight");
    }
  }
}

TEST(LayerNorm, SameBitsForAnyThreadCount) {
  const int64_t n_tokens = 77, n = 1000;
  const auto x = numbers(n_tokens * n, 1), w = numbers(n, 2), b = numbers(n, 4),
             dy = numbers(n_tokens * n, 3);
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    std::vector<float> y(x.size()), dx(x.size()), dw(w.size());
    layer_norm_forward(y.data(), x.data(), w.data(), b.data(), kEps, n_tokens, n, pool);
    layer_norm_backward(dx.data(), dy.data(), x.data(), w.data(), kEps, n_tokens, n, true, pool);
    layer_norm_weight_gradient(dw.data(), dy.data(), x.data(), kEps, n_tokens, n, pool);
    y.insert(y.end(), dx.begin(), dx.end());
    y.insert(y.end(), dw.begin(), dw.end());
    results.push_back(y);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

}  // namespace layernorm_test
}  // namespace lora
