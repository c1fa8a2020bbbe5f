#include "train/divergence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "base/regex_test_util.h"
#include "train/finetune.h"

namespace lora {
namespace divergence_test {

using testing::HasSubstr;

// The iterations at which a run of these losses and norms says something, and what.
struct Heard {
  std::vector<int64_t> at;
  std::vector<Divergence> signs;
};
Heard watch(
    int64_t n, const std::function<double(int64_t)>& loss,
    const std::function<double(int64_t)>& norm = [](int64_t) { return 1.0; }, int64_t first = 1) {
  DivergenceWatch watch;
  Heard heard;
  for (int64_t i = first; i < first + n; ++i) {
    IterationRecord record;
    record.iter = i;
    record.loss = loss(i);
    record.grad_norm = norm(i);
    if (const auto sign = watch.add(record)) {
      heard.at.push_back(i);
      heard.signs.push_back(*sign);
    }
  }
  return heard;
}

// A loss around `mean`, spread as those of single samples are.
struct Noise {
  std::mt19937 bits{7};
  double spread;
  double operator()(double mean) {
    return std::max(0.01, mean * (1 + spread * std::normal_distribution<double>()(bits)));
  }
};

TEST(Divergence, NoisyRunsAreSilent) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    Noise noise{std::mt19937{seed}, 0.4};
    std::mt19937 bits(seed + 1000);
    std::lognormal_distribution<double> norm(0, 0.6);
    const auto level = [](int64_t i) { return 1 + 2 * std::exp(-double(i) / 100); };
    const Heard heard = watch(
        600, [&](int64_t i) { return noise(level(i)); }, [&](int64_t) { return norm(bits); });
    EXPECT_TRUE(heard.at.empty()) << seed << ": " << heard.signs[0].what;
  }
}

TEST(Divergence, ASpikeIsNone) {
  const auto loss = [](int64_t i) { return i % 40 > 26 ? 20.0 : 2.0; };  // 13 iterations
  EXPECT_TRUE(watch(400, loss).at.empty());
  EXPECT_TRUE(watch(
                  400, [](int64_t) { return 2.0; }, [](int64_t i) { return i % 40 > 36 ? 1e3 : 1; })
                  .at.empty());
}

TEST(Divergence, ALossThatLeavesItsStartIsNamedWithinTensOfIterations) {
  for (const int64_t begin : {2, 3, 4, 5, 6, 7, 30, 200}) {
    Noise noise{std::mt19937{1}, 0.05};
    const Heard heard = watch(300, [&](int64_t i) { return noise(i < begin ? 2.5 : 7.5); });
    ASSERT_EQ(heard.at.size(), 1u) << begin;
    EXPECT_LE(heard.at[0], begin + 15) << begin;
    EXPECT_EQ(heard.signs[0].last_good, heard.at[0] - 15) << begin;
    EXPECT_THAT(heard.signs[0].what, contains_regex("was [67]\\.[0-9]+ at .*, 2\\.[0-9]+ at the start$"));
  }
}

// The first 15 iterations of the bundled model on text of another kind, at a hundred times the default rate:
// what it comes to is below its start.
TEST(Divergence, AStepThatIsFarTooLongIsNamedAtTheBeginning) {
  const double losses[] = {5.12, 2.77, 7.97, 7.87, 6.38, 6.19, 5.77, 5.28,
                           4.80, 4.67, 4.42, 4.39, 4.32, 4.22, 4.21};
  const double norms[] = {0.86, 3.18, 20.82, 13.52, 1.30, 1.92, 1.09, 0.52,
                          0.48, 0.39, 0.28,  0.25,  0.25, 0.18, 0.14};
  const auto heard = [&](double shrink, double easier) {
    return watch(
        15, [&](int64_t i) { return losses[i - 1] / easier; },
        [&](int64_t i) { return i == 1 ? norms[0] : norms[i - 1] / shrink; });
  };
  const Heard once = heard(1, 1);
  ASSERT_EQ(once.at, (std::vector<int64_t>{6}));
  EXPECT_EQ(once.signs[0].last_good, 1);
  EXPECT_EQ(once.signs[0].what,
            "the loss was 6.2360 in the mean of 5 iterations and the gradient's norm up to 20.82, 5.1200 and "
            "0.86 at "
            "the start");
  EXPECT_TRUE(heard(2.1, 1).at.empty());  // the norm grew tenfold
  EXPECT_TRUE(heard(1, 2.6).at.empty());  // an easy first sample
}

TEST(Divergence, FarIsHalfAsMuchAgainAndHalfANat) {
  const auto to = [](double loss) { return watch(100, [&](int64_t i) { return i < 30 ? 2.0 : loss; }).at; };
  EXPECT_TRUE(to(3.5).empty());
  EXPECT_FALSE(to(3.51).empty());
}

TEST(Divergence, OfALossThatHadFallenTheLowestLevelCounts) {
  const auto to = [](double high) {
    return watch(300, [&](int64_t i) { return i < 100 ? 4.0 - 0.035 * double(i) : i < 150 ? 0.5 : high; });
  };
  EXPECT_TRUE(to(2).at.empty());
  const Heard heard = to(2.1);
  ASSERT_EQ(heard.at.size(), 1u);
  EXPECT_EQ(heard.at[0], 164);
  EXPECT_THAT(heard.signs[0].what, HasSubstr("2.1000 at the least in 15 iterations, 0.5000 before"));
}

TEST(Divergence, IsSaidAgainWhereItHasDoubled) {
  const auto loss = [](int64_t i) { return i < 20 ? 2.0 : i < 100 ? 8.0 : i < 200 ? 15.9 : 16.0; };
  EXPECT_EQ(watch(300, loss).at, (std::vector<int64_t>{34, 214}));
}

TEST(Divergence, AGradientThatExplodesIsNamedOnce) {
  const Heard heard = watch(
      100, [](int64_t) { return 2.0; }, [](int64_t i) { return i < 40 ? 0.5 : 10.01; });
  ASSERT_EQ(heard.at, (std::vector<int64_t>{44}));
  EXPECT_EQ(heard.signs[0].last_good, 39);
  EXPECT_EQ(heard.signs[0].what, "the gradient's norm was 10.01 at the least in 5 iterations, 0.5 before");
  EXPECT_TRUE(watch(
                  100, [](int64_t) { return 2.0; }, [](int64_t i) { return i < 40 ? 0.5 : 10.0; })
                  .at.empty());
}

TEST(Divergence, SmallGradientsOfATextThatIsKnownMayGrow) {
  const auto loss = [](int64_t i) { return i < 40 ? 2.0 : 0.01; };
  const auto norm = [](int64_t i) { return i < 40 ? 1 : i < 120 ? 1e-4 : 1e-2; };
  EXPECT_TRUE(watch(200, loss, norm).at.empty());
}

// The state of a run before is gone; its loss may be low by now, and the first batch a hard one.
TEST(Divergence, AResumedRunIsMeasuredAgainstItself) {
  Noise noise{std::mt19937{3}, 0.3};
  EXPECT_TRUE(watch(
                  300, [&](int64_t) { return noise(0.4); }, [](int64_t) { return 0.1; }, 501)
                  .at.empty());
  const Heard heard = watch(
      100, [](int64_t i) { return i < 520 ? 0.5 : 6.0; }, [](int64_t) { return 1; }, 501);
  EXPECT_EQ(heard.at, (std::vector<int64_t>{534}));
  EXPECT_EQ(heard.signs[0].last_good, 519);
}

TEST(Divergence, TheWaysOutAreThoseThatAreLeft) {
  FinetuneOptions o;
  o.adam_alpha = 0.1;
  EXPECT_EQ(ways_out_of_divergence(o, 256), "--adam-alpha 0.033");
  o.adam_gclip = 0;
  o.warmup = 11;
  EXPECT_EQ(ways_out_of_divergence(o, 256), "--adam-alpha 0.033 --adam-gclip 1 --warmup 5%");
  o.optimizer = Optimizer::lbfgs;
  EXPECT_EQ(ways_out_of_divergence(o, 256), "--use-adam");
}

}  // namespace divergence_test
}  // namespace lora
