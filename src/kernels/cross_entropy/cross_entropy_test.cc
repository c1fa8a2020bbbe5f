#include "kernels/cross_entropy/cross_entropy.h"

#include <gtest/gtest.h>

#include "kernels/cross_entropy/cross_entropy_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace cross_entropy_test {

using test::cast, test::kEpsilon, test::Misaligned, test::numbers, test::zeros;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Around vector widths, around the block of the summation, and a large vocabulary.
const int64_t kVocabularies[] = {1,  2,  3,  4,  5,   7,    8,    9,    15,    16,    17,
                                 31, 32, 33, 65, 257, 4095, 4096, 4097, 32000, 131072};

TEST(CrossEntropy, MatchesReference) {
  ThreadPool pool(2);
  for (int64_t n_vocab : kVocabularies) {
    const std::vector<int32_t> targets = {0, int32_t(n_vocab - 1), -1, int32_t(n_vocab / 2)};
    const int64_t n = 4;
    const float scale = 0.25f;
    const auto values = numbers(n * n_vocab, 1, 10);
    Misaligned logits(values);
    std::vector<double> losses(4, -1), backward_losses(4, -1);
    cross_entropy_forward(losses.data(), logits.data(), targets.data(), n, n_vocab, pool);
    cross_entropy_backward(logits.data(), backward_losses.data(), targets.data(), scale, n, n_vocab, pool);

    auto want = cast<double>(values);
    const std::string what = "n_vocab " + std::to_string(n_vocab);
    for (int64_t t = 0; t < n; ++t) {
      double* row = want.data() + t * n_vocab;
      const double loss = cross_entropy_backward_reference(row, targets[size_t(t)], double(scale), n_vocab);
      // exp() of a difference that is itself rounded: arguments up to 20 carry 10 epsilon of error.
      EXPECT_NEAR(losses[size_t(t)], loss, 20 * kEpsilon) << what << ", row " << t;
      EXPECT_NEAR(backward_losses[size_t(t)], loss, 20 * kEpsilon) << what << ", row " << t;
    }
    const auto tolerance = [&](int64_t i) {
      const bool target = targets[size_t(i / n_vocab)] == i % n_vocab;
      return 32 * kEpsilon * (std::abs(want[size_t(i)]) + (target ? double(scale) : 0));
    };
    test::expect_close(logits, want, tolerance, what);
    EXPECT_TRUE(logits.guards_intact()) << what;
  }
}

// Two logits x apart: the lesser probability is 1 / (1 + exp(x)), which shows exp() itself
// over its whole range. Below 1.3e-38 it may be flushed to zero.
TEST(CrossEntropy, ExpIsRightOverItsRange) {
  ThreadPool pool(1);
  for (double x = 0; x < 110; x += 0.0137) {
    float logits[2] = {float(-x), 0};
    const double apart = -double(logits[0]);
    const int32_t target = 1;
    double loss;
    cross_entropy_backward(logits, &loss, &target, 1, 1, 2, pool);
    const double p = 1 / (1 + std::exp(apart));
    ASSERT_NEAR(logits[0], p, 4 * kEpsilon * p + 1.3e-38) << "x = " << x;
    // The terms 1 + exp(-x) meet in f32, so the loss is right to an epsilon of 1.
    ASSERT_NEAR(loss, std::log1p(std::exp(-apart)), kEpsilon) << "x = " << x;
  }
}

TEST(CrossEntropy, LargeLogitsDoNotOverflow) {
  ThreadPool pool(1);
  for (float offset : {-3e38f, -1e4f, 1e4f, 3e38f}) {
    std::vector<float> logits(33, offset);
    double loss;
    const int32_t target = 32;
    cross_entropy_backward(logits.data(), &loss, &target, 1, 1, 33, pool);
    EXPECT_NEAR(loss, std::log(33.0), 1e-6);
    EXPECT_NEAR(logits[0], 1 / 33.0, 1e-8);
  }
}

TEST(CrossEntropy, MaskedLogitIsImpossible) {
  ThreadPool pool(1);
  std::vector<float> logits(20, 0.0f);
  logits[3] = logits[18] = -kInfinity;
  double loss;
  const int32_t target = 0;
  cross_entropy_backward(logits.data(), &loss, &target, 1, 1, 20, pool);
  EXPECT_NEAR(loss, std::log(18.0), 1e-6);
  EXPECT_EQ(logits[3], 0);
  EXPECT_EQ(logits[18], 0);
}

// Training stops on a loss that is not finite, so a broken logit anywhere must reach it.
TEST(CrossEntropy, BrokenLogitsGiveNaNLoss) {
  ThreadPool pool(1);
  for (float broken : {kNan, kInfinity}) {
    for (int64_t where : {0, 7, 16, 30, 44}) {
      auto logits = numbers(45, 1);
      logits[size_t(where)] = broken;
      double loss = 0;
      const int32_t target = 20;
      cross_entropy_forward(&loss, logits.data(), &target, 1, 45, pool);
      EXPECT_TRUE(std::isnan(loss)) << broken << " at " << where;
      loss = 0;
      cross_entropy_backward(logits.data(), &loss, &target, 1, 1, 45, pool);
      EXPECT_TRUE(std::isnan(loss)) << broken << " at " << where;
    }
  }
}

TEST(CrossEntropy, BackwardIsTheDerivative) {
  const int64_t n_vocab = 11;
  auto logits = numbers<double>(n_vocab, 1, 3);
  const auto loss = [&] { return cross_entropy_forward_reference(logits.data(), 4, n_vocab); };
  auto gradient = logits;
  cross_entropy_backward_reference(gradient.data(), 4, 1.0, n_vocab);
  test::expect_gradient(loss, logits, gradient, "logits");
}

TEST(CrossEntropy, GradientRowsSumToZero) {
  ThreadPool pool(2);
  const int64_t n_vocab = 50257;
  auto logits = numbers(n_vocab, 1, 5);
  double loss;
  const int32_t target = 12345;
  cross_entropy_backward(logits.data(), &loss, &target, 1, 1, n_vocab, pool);
  double sum = 0;
  for (float g : logits) sum += double(g);
  EXPECT_NEAR(sum, 0, 4 * kEpsilon);  // each row's roundings are independent and mostly cancel
}

TEST(CrossEntropy, SameBitsForAnyThreadCount) {
  const int64_t n = 13, n_vocab = 5000;
  const auto values = numbers(n * n_vocab, 1, 5);
  const std::vector<int32_t> targets(13, 77);
  auto a = values, b = values;
  auto losses_a = zeros<double>(n), losses_b = zeros<double>(n);
  ThreadPool one(1), four(4);
  cross_entropy_backward(a.data(), losses_a.data(), targets.data(), 1, n, n_vocab, one);
  cross_entropy_backward(b.data(), losses_b.data(), targets.data(), 1, n, n_vocab, four);
  EXPECT_EQ(a, b);
  EXPECT_EQ(losses_a, losses_b);
}

}  // namespace cross_entropy_test
}  // namespace lora
