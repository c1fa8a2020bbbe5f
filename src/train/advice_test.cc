#include "train/advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lora {
namespace advice_test {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr RunLength kRun = {.n_iter = 200, .n_samples = 100, .readings = 3};

// A schedule that fits kRun; each test changes a value of it.
FinetuneOptions fitting() {
  FinetuneOptions o;
  o.warmup = 10;
  o.cos_decay_steps = 190;
  return o;
}

std::vector<std::string> with_warmup(int64_t warmup, int64_t n_iter) {
  FinetuneOptions o = fitting();
  o.warmup = warmup;
  o.cos_decay_steps = std::max<int64_t>(1, n_iter - warmup);
  return advice(o, {n_iter, 100, 3});
}

std::vector<std::string> with_decay(int64_t steps) {
  FinetuneOptions o = fitting();
  o.cos_decay_steps = steps;
  return advice(o, kRun);
}

TEST(Advice, ARunThatFitsHearsNothing) {
  EXPECT_THAT(advice(fitting(), kRun), IsEmpty());
}

TEST(Advice, TheGuidesDefaultsForAShortRunAreOneLine) {
  EXPECT_THAT(
      advice(FinetuneOptions{}, {256, 100, 3}),
      ElementsAre("warning: the schedule does not fit a run of 256 iterations: --warmup 100 is 39% of "
                  "it, --cos-decay-steps 1000 ends far behind it, which leaves the learning rate at "
                  "0.95 of its height; --warmup 5% --cos-decay-steps auto would fit (lora train chooses such "
                  "values by itself)"));
  EXPECT_THAT(advice(FinetuneOptions{}, {1100, 100, 3}), IsEmpty());
}

TEST(Advice, AWarmupMayTakeATenth) {
  EXPECT_THAT(with_warmup(20, 200), IsEmpty());
  EXPECT_THAT(with_warmup(21, 200),
              ElementsAre(AllOf(HasSubstr("--warmup 21 is "), HasSubstr("; --warmup 5% would fit ("))));
  EXPECT_THAT(with_warmup(1, 1), IsEmpty());  // as none
  EXPECT_THAT(with_warmup(2, 2), ElementsAre(HasSubstr("--warmup 2 is 100% of it")));
  EXPECT_THAT(with_warmup(3, 2),
              ElementsAre(HasSubstr("--warmup 3 is longer, so that --adam-alpha is never")));
}

TEST(Advice, ADecayMayBeHalfOrTwiceAsLongAsWhatIsLeft) {
  EXPECT_THAT(with_decay(380), IsEmpty());
  EXPECT_THAT(with_decay(381),
              ElementsAre(AllOf(HasSubstr("--cos-decay-steps 381 ends far behind it"),
                                HasSubstr(" at 0.55 of its height; --cos-decay-steps auto would fit ("))));
  EXPECT_THAT(with_decay(95), IsEmpty());
  EXPECT_THAT(with_decay(94), ElementsAre(HasSubstr("--cos-decay-steps 94 ends long before it, with 96 "
                                                    "iterations at the lowest learning rate; "
                                                    "--cos-decay-steps auto would fit (")));
}

TEST(Advice, ADecayThatRestartsOrChangesNothingMayHaveAnyLength) {
  FinetuneOptions o = fitting();
  o.cos_decay_steps = 20;
  o.restart = true;
  EXPECT_THAT(advice(o, kRun), IsEmpty());
  for (const int64_t steps : {20, 2000}) {
    o = fitting();
    o.cos_decay_steps = steps;
    o.cos_decay_min = 1;
    EXPECT_THAT(advice(o, kRun), IsEmpty());
    o.cos_decay_min = 0.1;
    o.adam_min_alpha = o.adam_alpha;
    EXPECT_THAT(advice(o, kRun), IsEmpty());
    o = fitting();
    o.cos_decay_steps = steps;
    o.schedule = Schedule::constant;
    EXPECT_THAT(advice(o, kRun), IsEmpty());
  }
}

TEST(Advice, LbfgsHasNoSchedule) {
  FinetuneOptions o;
  o.optimizer = Optimizer::lbfgs;
  EXPECT_THAT(advice(o, {2, 100, 3}), IsEmpty());
}

TEST(Advice, FiftyReadingsAreNotTooMany) {
  EXPECT_THAT(advice(fitting(), {200, 100, 50}), IsEmpty());
  EXPECT_THAT(
      advice(fitting(), {200, 100, 51}),
      ElementsAre("warning: the run reads its data 51 times, enough to learn it by heart; --adam-iter 40 "
                  "reads it 10 times, --val-split with --patience ends in time (lora train chooses "
                  "such values by itself)"));
  FinetuneOptions o = fitting();
  o.epochs = 2048;
  EXPECT_THAT(advice(o, {200, 100, 2048}), ElementsAre(HasSubstr("; --epochs 10 reads it 10 times")));
  o.patience = 3;
  EXPECT_THAT(advice(o, {200, 100, 2048}), IsEmpty());
}

TEST(Advice, OneSampleIsNamedHoweverOftenItIsRead) {
  EXPECT_THAT(advice(fitting(), {200, 2, 2}), IsEmpty());
  for (const double readings : {2., 2048.}) {
    EXPECT_THAT(advice(fitting(), {200, 1, readings}),
                ElementsAre(AllOf(StartsWith("warning: there is one sample, which the run reads 2"),
                                  HasSubstr("--sample-start or --window"), Not(HasSubstr("--adam-iter")))));
  }
}

TEST(Advice, NamesTrainOnceWhereItHelps) {
  const auto names_train = EndsWith(" (lora train chooses such values by itself)");
  EXPECT_THAT(advice(FinetuneOptions{}, {256, 100, 2048}), ElementsAre(Not(names_train), names_train));
  EXPECT_THAT(advice(FinetuneOptions{}, {256, 1, 2048}), ElementsAre(names_train, Not(names_train)));
  EXPECT_THAT(advice(fitting(), {200, 1, 2048}), ElementsAre(Not(names_train)));
}

TEST(Advice, WhatItNamesFitsARunOfAnyLength) {
  FinetuneOptions o;
  o.warmup = RunShare::percent_of_run(5);
  o.cos_decay_steps = RunShare::automatic();
  for (const int64_t n_iter : {1, 2, 10, 11, 256, 5000})
    EXPECT_THAT(advice(o, {n_iter, 100, 3}), IsEmpty()) << n_iter;
}

}  // namespace advice_test
}  // namespace lora
