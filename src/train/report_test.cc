#include "train/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lora {
namespace report_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Evaluations evaluations(double before, double best, int64_t best_iteration, double last,
                        int64_t last_iteration) {
  Evaluations e;
  e.before = before;
  e.best = best;
  e.best_iteration = best_iteration;
  e.last = last;
  e.last_iteration = last_iteration;
  return e;
}

TEST(Report, FractionsHaveTheNearestWords) {
  EXPECT_EQ(fraction_in_words(0), "hardly less");
  EXPECT_EQ(fraction_in_words(0.05), "a twentieth less");
  EXPECT_EQ(fraction_in_words(0.1), "a tenth less");
  EXPECT_EQ(fraction_in_words(0.2), "a fifth less");
  EXPECT_EQ(fraction_in_words(0.25), "a quarter less");
  EXPECT_EQ(fraction_in_words(1.0 / 3), "a third less");
  EXPECT_EQ(fraction_in_words(0.5), "half less");
  EXPECT_EQ(fraction_in_words(2.0 / 3), "two thirds less");
  EXPECT_EQ(fraction_in_words(0.75), "three quarters less");
  EXPECT_EQ(fraction_in_words(0.6), "three fifths less");
  EXPECT_EQ(fraction_in_words(0.8), "four fifths less");
  EXPECT_EQ(fraction_in_words(0.9), "nine tenths less");
  EXPECT_EQ(fraction_in_words(-0.1), "a tenth more");
}

TEST(Report, ARunThatGotBetterSaysByHowMuch) {
  const Evaluations e{.before = 3, .best = 2, .last = 2, .best_iteration = 40, .last_iteration = 40};
  EXPECT_THAT(
      describe_quality(e, "best.gguf"),
      ElementsAre(
          "held-out loss: 3.0000 before training (perplexity 20.09), 2.0000 at its best, iteration 40 "
          "(perplexity 7.39)",
          "text of this kind that it has not seen surprises it a third less than before"));
}

TEST(Report, OvertrainingNamesWhereItBeganAndWhatIsKept) {
  const Evaluations e = evaluations(3, 2, 40, 2.5, 90);
  const auto lines = describe_quality(e, "best.gguf");
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_THAT(lines[0], HasSubstr("2.5000 at the last, iteration 90"));
  EXPECT_THAT(lines[2], HasSubstr("after iteration 40"));
  EXPECT_THAT(lines[2], HasSubstr("best.gguf is the adapter from before that"));
  EXPECT_THAT(describe_quality(e, "")[2], HasSubstr("--save-best"));
}

TEST(Report, AWaverIsNoOvertraining) {
  EXPECT_FALSE(has_overtrained(evaluations(3, 2, 40, 2.019, 90)));
  EXPECT_TRUE(has_overtrained(evaluations(3, 2, 40, 2.021, 90)));
  EXPECT_FALSE(has_overtrained(evaluations(3, 2, 90, 3, 90)));
}

TEST(Report, AnIterationThatOldCheckpointsDidNotKeepIsNotSaid) {
  const Evaluations e = evaluations(3, 2, 0, 2.5, 90);
  EXPECT_FALSE(has_overtrained(e));
  EXPECT_THAT(describe_quality(e, "")[0], testing::Not(HasSubstr("iteration 0")));
}

TEST(Report, ARunThatLearnedNothingIsWarnedOf) {
  const Evaluations e = evaluations(2, 2, 40, 2, 40);
  EXPECT_THAT(describe_quality(e, "best.gguf")[1], HasSubstr("warning: "));
}

TEST(Report, NothingIsSaidWithoutHeldOutData) {
  EXPECT_THAT(describe_quality({}, ""), IsEmpty());
}

}  // namespace report_test
}  // namespace lora
