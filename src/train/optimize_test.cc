// L-BFGS on a function whose minimum is known, the convergence tests, the split of samples, and the time a
// run still takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "train/convergence.h"
#include "train/held_out.h"
#include "train/lbfgs.h"
#include "train/metrics.h"

namespace lora {
namespace optimize_test {

// 64 values in parameters that nothing else is done with.
LoraParameters sixty_four_values() {
  return make_parameters({{"blk.0.attn_q.weight", 16, 16, 2, 0, 0}}, 1, false);
}

// f = sum c_i (x_i - 1)^2 with c from 1 to 100.
struct Bowl {
  LoraParameters p = sixty_four_values();
  LbfgsHistory history;
  ThreadPool pool{2};
  int n_calls = 0;

  double evaluate() {
    ++n_calls;
    double f = 0;
    for (int64_t i = 0; i < p.values.size(); ++i) {
      const double c = 1 + 99.0 * double(i) / 63, d = double(p.values[i]) - 1;
      f += c * d * d;
      p.gradients[i] = float(2 * c * d);
    }
    return f;
  }
};

TEST(Lbfgs, FindsTheMinimumOfAnIllConditionedBowl) {
  Bowl bowl;
  Lbfgs lbfgs(bowl.p, bowl.history, bowl.pool);
  const double first = bowl.evaluate();
  for (int i = 0; i < 40; ++i) {
    const double before = bowl.evaluate();
    const auto outcome = lbfgs.step(before, [&] { return std::optional(bowl.evaluate()); });
    EXPECT_LE(bowl.evaluate(), before) << i;
    if (outcome.step == 0) break;
  }
  EXPECT_LT(bowl.evaluate(), 1e-6 * first);
  EXPECT_LE(bowl.history.pairs.size(), kLbfgsPairs);
}

TEST(Lbfgs, ATrialThatIsNotANumberIsTooFar) {
  Bowl bowl;
  Lbfgs lbfgs(bowl.p, bowl.history, bowl.pool);
  const double before = bowl.evaluate();
  int trial = 0;
  const auto outcome = lbfgs.step(before, [&]() -> std::optional<double> {
    const double f = bowl.evaluate();
    return trial++ == 0 ? std::numeric_limits<double>::quiet_NaN() : f;
  });
  EXPECT_GT(outcome.step, 0);
  EXPECT_LT(bowl.evaluate(), before);
}

TEST(Lbfgs, AStepThatIsGivenUpChangesNothing) {
  Bowl bowl;
  Lbfgs lbfgs(bowl.p, bowl.history, bowl.pool);
  for (int i = 0; i < 3; ++i) lbfgs.step(bowl.evaluate(), [&] { return std::optional(bowl.evaluate()); });
  const std::vector<float> values(bowl.p.values.data(), bowl.p.values.data() + 64);
  const size_t n_pairs = bowl.history.pairs.size();
  const auto outcome = lbfgs.step(bowl.evaluate(), [&]() -> std::optional<double> { return std::nullopt; });
  EXPECT_TRUE(outcome.given_up);
  EXPECT_EQ(values, std::vector<float>(bowl.p.values.data(), bowl.p.values.data() + 64));
  EXPECT_EQ(bowl.history.pairs.size(), n_pairs);
}

// Where the slope grows steeper along the step, s.y is negative: such a pair would make H indefinite.
TEST(Lbfgs, PairsOfNegativeCurvatureAreSkipped) {
  LoraParameters p = sixty_four_values();
  LbfgsHistory history;
  ThreadPool pool(1);
  Lbfgs lbfgs(p, history, pool);
  const auto evaluate = [&]() -> std::optional<double> {
    double f = 0;
    for (int64_t i = 0; i < p.values.size(); ++i) {
      const double x = p.values[i];
      f += -x - 0.05 * x * x;  // steeper with every step
      p.gradients[i] = float(-1 - 0.1 * x);
    }
    return f;
  };
  for (int i = 0; i < 3; ++i) EXPECT_GT(lbfgs.step(*evaluate(), evaluate).step, 0);
  EXPECT_TRUE(history.pairs.empty());
}

std::string reached(const FinetuneOptions& options, const std::vector<double>& losses,
                    size_t* when = nullptr) {
  Convergence convergence;
  for (size_t i = 0; i < losses.size(); ++i) {
    convergence.add(losses[i], options);
    if (when) *when = i;
    if (const std::string why = convergence.reached(options); !why.empty()) return why;
  }
  return "";
}

TEST(ConvergenceTests, AreOffByDefault) {
  EXPECT_EQ(reached({}, {3, 3, 3, 3, 3, 3}), "");
}

TEST(ConvergenceTests, EachFiresWhereItShould) {
  FinetuneOptions o;
  size_t when = 0;
  o.adam_epsf = 0.01;
  EXPECT_THAT(reached(o, {4, 3, 2, 1.99, 1}, &when), testing::StartsWith("--adam-epsf"));
  EXPECT_EQ(when, 3u);
  o.optimizer = Optimizer::lbfgs;
  EXPECT_EQ(reached(o, {4, 3, 2, 1.99, 1}), "");
  o = {};
  o.opt_past = 2;
  o.opt_delta = 0.1;
  EXPECT_THAT(reached(o, {4, 3, 4.1, 3, 9}, &when), testing::StartsWith("--opt-delta"));
  EXPECT_EQ(when, 2u);
  o = {};
  o.opt_max_no_improvement = 3;
  EXPECT_THAT(reached(o, {4, 3, 3, 4, 3.5, 1}, &when), testing::StartsWith("--opt-max-no-improvement"));
  EXPECT_EQ(when, 4u);
}

TEST(SplitSamples, DependsOnTheSeedAloneAndKeepsBothApart) {
  const SampleSplit split = split_samples(100, 0.13, 5, false, 32);
  EXPECT_EQ(split.held_out.size(), 13u);
  EXPECT_EQ(split.trained.size(), 87u);
  std::set<int64_t> all(split.trained.begin(), split.trained.end());
  all.insert(split.held_out.begin(), split.held_out.end());
  EXPECT_EQ(all.size(), 100u);
  EXPECT_EQ(split_samples(100, 0.13, 5, false, 32).held_out, split.held_out);
  EXPECT_NE(split_samples(100, 0.13, 6, false, 32).held_out, split.held_out);
  EXPECT_EQ(split_samples(100, 0.001, 5, false, 32).held_out.size(), 1u);
  EXPECT_THROW(split_samples(1, 0.5, 5, false, 32), Error);
}

// Window i holds the tokens [i, i + n_ctx).
TEST(SplitSamples, NoTokenOfAHeldOutWindowIsTrainedOn) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const int64_t n_ctx = 16;
    const SampleSplit split = split_samples(1000, 0.2, seed, true, n_ctx);
    std::set<int64_t> tokens;
    for (int64_t i : split.held_out) {
      for (int64_t k = 0; k < n_ctx; ++k) EXPECT_TRUE(tokens.insert(i + k).second) << "windows overlap";
    }
    EXPECT_GE(split.held_out.size(), 12u);
    for (int64_t i : split.trained) {
      for (int64_t k = 0; k < n_ctx; ++k) ASSERT_FALSE(tokens.contains(i + k)) << seed << " " << i;
    }
  }
}

TEST(RemainingTime, CountsTokensSavesAndEvaluations) {
  RemainingTime remaining(100);
  remaining.add_iteration(50, 10);  // the model was read from disk
  EXPECT_NEAR(remaining.seconds(1, 0, 0), 500, 1e-9);
  remaining.add_iteration(1, 50);
  remaining.add_iteration(3, 150);  // 20 ms a token
  EXPECT_NEAR(remaining.seconds(10, 0, 0), 20, 1e-9);
  remaining.add_save(5);
  remaining.add_evaluation(7);
  EXPECT_NEAR(remaining.seconds(10, 2, 3), 51, 1e-9);
  EXPECT_EQ(multiples_left(10, 30, 10), 2);
  EXPECT_EQ(multiples_left(9, 29, 10), 2);
  EXPECT_EQ(multiples_left(30, 30, 10), 0);
  EXPECT_EQ(multiples_left(0, 30, 0), 0);
}

}  // namespace optimize_test
}  // namespace lora
