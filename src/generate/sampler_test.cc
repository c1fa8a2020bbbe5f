#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "base/error.h"

namespace lora {
namespace sampler_test {

constexpr SamplerOptions kPlain{.repeat_penalty = 1, .top_k = 0, .top_p = 1, .min_p = 0, .temp = 1};

// Logits whose softmax is this distribution.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (double p : probabilities) logits.push_back(float(std::log(p)));
  return logits;
}

std::map<Token, int> count_draws(const SamplerOptions& options, const std::vector<float>& logits,
                                 int n = 20000) {
  Sampler sampler{options, 7};
  std::map<Token, int> counts;
  for (int i = 0; i < n; ++i) ++counts[sample(sampler, logits)];
  return counts;
}

TEST(Sampler, TemperatureZeroTakesTheFirstMaximum) {
  SamplerOptions options = kPlain;
  options.temp = 0;
  Sampler sampler{options};
  EXPECT_EQ(sample(sampler, std::vector<float>{1, 5, 2, 5}), 1);
  EXPECT_EQ(sampler.step, 0u);
}

TEST(Sampler, DrawsFromTheSoftmax) {
  const std::vector<double> p = {0.1, 0.6, 0.05, 0.25};
  constexpr int n = 20000;
  auto counts = count_draws(kPlain, logits_of(p), n);
  for (size_t i = 0; i < p.size(); ++i) {
    const double sigma = std::sqrt(n * p[i] * (1 - p[i]));
    EXPECT_NEAR(counts[Token(i)], n * p[i], 5 * sigma) << i;
  }
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  SamplerOptions options = kPlain;
  options.temp = 0.5;  // p^2: 0.9 / 1, 0.1 / 1 becomes 81 : 1
  constexpr int n = 20000;
  const double p = 1.0 / 82;
  EXPECT_NEAR(count_draws(options, logits_of({0.9, 0.1}), n)[1], n * p, 5 * std::sqrt(n * p));
}

TEST(Sampler, TopKKeepsTheLikeliestAndBreaksTiesById) {
  SamplerOptions options = kPlain;
  options.top_k = 2;
  const auto counts = count_draws(options, {1, 3, 2, 2});
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts.contains(1) && counts.contains(2));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  SamplerOptions options = kPlain;
  options.top_p = 0.75;
  EXPECT_EQ(count_draws(options, logits_of({0.5, 0.3, 0.2})).size(), 2u);
  options.top_p = 0.45;
  EXPECT_EQ(count_draws(options, logits_of({0.5, 0.3, 0.2})).size(), 1u);
  options.top_p = 0;
  EXPECT_EQ(count_draws(options, logits_of({0.5, 0.3, 0.2})).size(), 1u);
}

TEST(Sampler, MinPDropsWhatIsFarBelowTheFirst) {
  SamplerOptions options = kPlain;
  options.min_p = 0.5;
  EXPECT_EQ(count_draws(options, logits_of({0.5, 0.3, 0.2})).size(), 2u);
}

TEST(Sampler, FiltersLookAtProbabilitiesBeforeTheTemperature) {
  SamplerOptions options = kPlain;
  options.temp = 100;  // nearly flat: after it, min-p would keep all three
  options.min_p = 0.5;
  EXPECT_EQ(count_draws(options, logits_of({0.5, 0.3, 0.2})).size(), 2u);
}

TEST(Sampler, TopPSumsOverWhatTopKLeft) {
  SamplerOptions options = kPlain;
  options.top_k = 2;
  options.top_p = 0.55;  // 0.4 / 0.7 = 0.57 reaches it; 0.4 / 1 would not
  EXPECT_EQ(count_draws(options, logits_of({0.4, 0.3, 0.3})).size(), 1u);
}

TEST(Sampler, PenaltyDividesPositiveAndMultipliesNegativeLogitsOnce) {
  SamplerOptions options = kPlain;
  options.temp = 0;
  options.repeat_penalty = 2;
  Sampler sampler{options};
  accept(sampler, 0);
  accept(sampler, 0);
  EXPECT_EQ(sample(sampler, std::vector<float>{4, 1.5}), 0);  // 4 / 2 once, not 4 / 4
  EXPECT_EQ(sample(sampler, std::vector<float>{4, 2.5}), 1);
  EXPECT_EQ(sample(sampler, std::vector<float>{-1, -1.5}), 1);  // -1 x 2
}

TEST(Sampler, PenaltyForgetsAfter64Tokens) {
  SamplerOptions options = kPlain;
  options.temp = 0;
  options.repeat_penalty = 10;
  Sampler sampler{options};
  accept(sampler, 0);
  for (int i = 0; i < 63; ++i) accept(sampler, 2);
  const std::vector<float> logits = {2, 1, 0};
  EXPECT_EQ(sample(sampler, logits), 1);
  accept(sampler, 2);
  EXPECT_EQ(sample(sampler, logits), 0);
}

TEST(Sampler, SameSeedSameDraws) {
  const std::vector<float> logits(100, 0.0f);
  Sampler a{kPlain, 3}, b{kPlain, 3}, c{kPlain, 4};
  bool differs = false;
  for (int i = 0; i < 50; ++i) {
    const Token token = sample(a, logits);
    EXPECT_EQ(token, sample(b, logits));
    differs |= token != sample(c, logits);
  }
  EXPECT_TRUE(differs);
}

TEST(Sampler, NeverDrawsABannedToken) {
  const float ban = -std::numeric_limits<float>::infinity();
  const auto counts = count_draws(kPlain, {ban, 0, ban, 0}, 1000);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts.contains(1) && counts.contains(3));
}

TEST(Sampler, RefusesLogitsThatAreNotNumbers) {
  Sampler sampler{kPlain};
  EXPECT_THROW(sample(sampler, std::vector<float>{0, std::nanf("")}), Error);
  EXPECT_THROW(sample(sampler, std::vector<float>{0, std::numeric_limits<float>::infinity()}), Error);
  EXPECT_THROW(sample(sampler, std::vector<float>{-std::numeric_limits<float>::infinity()}), Error);
}

}  // namespace sampler_test
}  // namespace lora
