#include "nn/experts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace lora {
namespace experts_test {

constexpr int64_t kEmbd = 24, kFf = 20, kExperts = 5;

std::vector<float> random_numbers(int64_t n, uint64_t stream, float size = 1) {
  std::vector<float> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    values[size_t(i)] = size * float(2 * random_uniform(7, Purpose::test, stream, uint64_t(i)) - 1);
  return values;
}

// Five experts of random weights, with biases; two for each token.
struct Mixture {
  explicit Mixture(std::vector<float> bias_of_choice = {}) : choice_bias(std::move(bias_of_choice)) {
    experts.form = {.n_expert = kExperts, .n_used = 2, .normalize = true};
    experts.router.w = f32_matrix(router.data(), kExperts, kEmbd);
    if (!choice_bias.empty()) experts.choice_bias = choice_bias.data();
    for (int64_t e = 0; e < kExperts; ++e) {
      const auto linear = [&](const std::vector<float>& all, int64_t n_out, int64_t n_in) {
        Linear result;
        result.w = f32_matrix(all.data() + e * n_out * n_in, n_out, n_in);
        return result;
      };
      experts.experts.push_back(
          {linear(gate, kFf, kEmbd), linear(up, kFf, kEmbd), linear(down, kEmbd, kFf), Activation::silu});
      experts.down_bias.push_back(&bias[size_t(e * kEmbd)]);
    }
  }

  struct Passed {
    std::vector<float> y, dx;
    std::vector<int64_t> n_rows;  // of each expert
  };
  Passed run(const std::vector<float>& x, const std::vector<float>& dy, int n_threads) const {
    const auto n = int64_t(x.size()) / kEmbd;
    ThreadPool pool(n_threads);
    Arena arena(32 << 20);
    GemmScratch scratch(n_threads);
    NnContext nn{pool, GemmInput::f32, scratch, arena};
    const Norm none;
    const BodyInput in(x.data(), none, n, kEmbd);
    const ExpertsKept kept = take_kept(arena, experts, n, Pass::gradients);
    // What stands in y before is not looked at.
    Passed passed{std::vector<float>(x.size(), std::numeric_limits<float>::quiet_NaN()),
                  std::vector<float>(x.size()),
                  {}};
    const Tokens tokens{n, nullptr, {}, {}};
    body_forward(passed.y.data(), false, in, experts, kept, tokens, nullptr, nn);
    for (int64_t e = 0; e < kExperts; ++e)
      passed.n_rows.push_back(kept.routing.begins[e + 1] - kept.routing.begins[e]);
    body_backward(passed.dx.data(), dy.data(), in, experts, kept, tokens, nn);
    return passed;
  }

  std::vector<float> choice_bias;
  std::vector<float> router = random_numbers(kExperts * kEmbd, 1);
  std::vector<float> gate = random_numbers(kExperts * kFf * kEmbd, 2, 0.3f);
  std::vector<float> up = random_numbers(kExperts * kFf * kEmbd, 3, 0.3f);
  std::vector<float> down = random_numbers(kExperts * kEmbd * kFf, 4, 0.3f);
  std::vector<float> bias = random_numbers(kExperts * kEmbd, 5);
  Experts experts;
};

// sum of the chosen experts' outputs, as plain loops.
std::vector<double> plain(const Mixture& m, const float* x) {
  std::vector<std::pair<double, size_t>> ranked;
  std::vector<double> p;
  for (size_t e = 0; e < size_t(kExperts); ++e) {
    double logit = 0;
    for (size_t i = 0; i < size_t(kEmbd); ++i) logit += double(m.router[e * kEmbd + i]) * double(x[i]);
    p.push_back(std::exp(logit));
  }
  double all = 0, chosen = 0;
  for (const double v : p) all += v;
  for (size_t e = 0; e < p.size(); ++e)
    ranked.emplace_back(-p[e] / all - (m.choice_bias.empty() ? 0 : double(m.choice_bias[e])), e);
  std::sort(ranked.begin(), ranked.end());
  for (int j = 0; j < 2; ++j) chosen += p[ranked[size_t(j)].second];
  std::vector<double> y(kEmbd);
  for (int j = 0; j < 2; ++j) {
    const size_t e = ranked[size_t(j)].second;
    for (size_t f = 0; f < size_t(kFf); ++f) {
      double g = 0, u = 0;
      for (size_t i = 0; i < size_t(kEmbd); ++i) {
        g += double(m.gate[(e * kFf + f) * kEmbd + i]) * double(x[i]);
        u += double(m.up[(e * kFf + f) * kEmbd + i]) * double(x[i]);
      }
      for (size_t o = 0; o < size_t(kEmbd); ++o)
        y[o] += p[e] / chosen * double(m.down[(e * kEmbd + o) * kFf + f]) * g / (1 + std::exp(-g)) * u;
    }
    for (size_t o = 0; o < size_t(kEmbd); ++o) y[o] += p[e] / chosen * double(m.bias[e * kEmbd + o]);
  }
  return y;
}

// What many tokens get is what each gets alone, forward and backward.
void expect_each_as_alone(const Mixture& m, int64_t n) {
  const std::vector<float> x = random_numbers(n * kEmbd, 10), dy = random_numbers(n * kEmbd, 11);
  const Mixture::Passed together = m.run(x, dy, 1), threads = m.run(x, dy, 3);
  EXPECT_EQ(together.y, threads.y);
  EXPECT_EQ(together.dx, threads.dx);
  for (int64_t t = 0; t < n; ++t) {
    const auto row = [&](const std::vector<float>& v) {
      return std::vector<float>(v.begin() + t * kEmbd, v.begin() + (t + 1) * kEmbd);
    };
    const std::vector<double> want = plain(m, &x[size_t(t * kEmbd)]);
    const Mixture::Passed alone = m.run(row(x), row(dy), 1);
    for (size_t i = 0; i < size_t(kEmbd); ++i) {
      EXPECT_NEAR(together.y[size_t(t * kEmbd) + i], want[i], 1e-5) << t;
      EXPECT_NEAR(alone.y[i], want[i], 1e-5) << t;
      EXPECT_NEAR(together.dx[size_t(t * kEmbd) + i], alone.dx[i], 1e-5) << t;
    }
  }
}

TEST(Experts, TokensGetWhatTheyGetAlone) {
  for (const int64_t n : {1, 2, 15, 16, 17, 100}) expect_each_as_alone(Mixture(), n);
}

TEST(Experts, AllTokensOnTwoExpertsAndNoneOnOthers) {
  const Mixture m({0, 50, 0, 0, 40});
  EXPECT_EQ(m.run(random_numbers(700 * kEmbd, 10), random_numbers(700 * kEmbd, 11), 2).n_rows,
            (std::vector<int64_t>{0, 700, 0, 0, 700}));
  for (const int64_t n : {1, 40, 700}) expect_each_as_alone(m, n);  // 700: more than a chunk's rows
}

TEST(Experts, OneExpertHasOneToken) {
  const Mixture m({60, 50, 0, 0, 0});
  expect_each_as_alone(m, 33);
}

// Against central differences of the sum of dy y: through the router and through the experts.
TEST(Experts, GradientIsTheSlope) {
  const Mixture m;
  const std::vector<float> x = random_numbers(3 * kEmbd, 10), dy = random_numbers(3 * kEmbd, 11);
  const Mixture::Passed passed = m.run(x, dy, 2);
  const auto loss = [&](const std::vector<float>& at) {
    double sum = 0;
    for (size_t t = 0; t < 3; ++t) {
      const std::vector<double> y = plain(m, &at[t * kEmbd]);
      for (size_t i = 0; i < size_t(kEmbd); ++i) sum += y[i] * double(dy[t * kEmbd + i]);
    }
    return sum;
  };
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<float> above = x, below = x;
    above[i] += 1e-3f, below[i] -= 1e-3f;
    EXPECT_NEAR(passed.dx[i], (loss(above) - loss(below)) / (double(above[i]) - double(below[i])), 1e-4) << i;
  }
}

}  // namespace experts_test
}  // namespace lora
