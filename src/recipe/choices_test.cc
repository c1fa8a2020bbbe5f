#include "recipe/choices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "train/run.h"

namespace lora {
namespace choices_test {

using testing::HasSubstr;

const Estimate kMeasured = [] {
  Estimate e;
  e.iteration_s = 1;
  e.evaluation_s = 10;
  return e;
}();

const std::function<bool(std::string_view)> kNothing = [](std::string_view) { return false; };

std::function<bool(std::string_view)> given(std::set<std::string, std::less<>> flags) {
  return [flags = std::move(flags)](std::string_view flag) { return flags.contains(flag); };
}

// n samples of as many tokens, a half of them trained on.
Facts samples(int64_t n, int64_t length) {
  Facts facts;
  facts.lengths.assign(size_t(n), length);
  facts.n_tokens = n * length;
  facts.n_targets = n * length / 2;
  facts.n_embd = 2000;
  facts.n_ctx_train = 4096;
  facts.measure = [](const FinetuneOptions&) { return kMeasured; };
  return facts;
}

Facts prose(int64_t n_tokens) {
  Facts facts = samples(0, 0);
  facts.is_prose = true;
  facts.n_tokens = facts.n_targets = n_tokens;
  return facts;
}

FinetuneOptions chosen(const Facts& facts, const Wishes& wishes = {.name = "my"},
                       const std::function<bool(std::string_view)>& is_given = kNothing,
                       FinetuneOptions options = {}) {
  if (facts.is_prose) options.window = 0;
  choose(options, facts, wishes, is_given);
  check_options(options);  // whatever is chosen must be a run
  return options;
}

std::string why(const Facts& facts, const std::string& flag, FinetuneOptions options = {}) {
  for (const Choice& choice : choose(options, facts, {.name = "my"}, kNothing)) {
    if ((choice.flags + " ").starts_with(flag + " ")) return choice.why;
  }
  return "not chosen";
}

TEST(Choices, EveryRuleHoldsForOneSampleAndForAHundredThousand) {
  for (const int64_t n : {1, 2, 23, 24, 25, 79, 80, 81, 1000, 100'000}) {
    for (const int64_t length : {1, 2, 100, 8192}) {
      const Facts facts = samples(n, length);
      const FinetuneOptions o = chosen(facts);
      EXPECT_GE(o.n_ctx, 1);
      EXPECT_LE(o.n_ctx, facts.n_ctx_train);
      EXPECT_GE(o.n_batch, 1);
      EXPECT_LE(o.n_batch, std::max<int64_t>(1, n));
      EXPECT_GT(o.adam_alpha, 0);
      EXPECT_GT(o.epochs.value(), 0);
      EXPECT_LE(o.warmup.n, std::max<int64_t>(1, iteration_count(o, n) / 10)) << n;
      EXPECT_EQ(o.val_split > 0, n >= 24) << n;
    }
  }
}

TEST(Choices, TheContextIsTheSmallestThatHoldsNearlyAllTokens) {
  EXPECT_EQ(chosen(samples(100, 32)).n_ctx, 32);
  EXPECT_EQ(chosen(samples(100, 33)).n_ctx, 64);  // 32 of 33 tokens are less than 97%
  EXPECT_EQ(chosen(samples(100, 200)).n_ctx, 256);
  Facts few_long = samples(1000, 100);
  few_long.lengths[0] = 3000;  // three percent of all lie beyond 128
  EXPECT_EQ(chosen(few_long).n_ctx, 128);
  few_long.lengths[1] = few_long.lengths[2] = 3000;
  EXPECT_GT(chosen(few_long).n_ctx, 1024);
}

TEST(Choices, SamplesBeyondTheModelsContextAreCutAndItIsSaid) {
  Facts facts = samples(100, 500);
  facts.n_ctx_train = 128;
  EXPECT_EQ(chosen(facts).n_ctx, 128);
  EXPECT_TRUE(chosen(facts).allow_cut);
  EXPECT_THAT(why(facts, "--ctx"), HasSubstr("74% of the samples' tokens lie beyond it"));
  facts.divides_long_samples = true;
  EXPECT_FALSE(chosen(facts).allow_cut);
  EXPECT_THAT(why(facts, "--ctx"), HasSubstr("cut between turns"));
}

TEST(Choices, ProseIsCutIntoPiecesOfWhichThereAreEnough) {
  EXPECT_EQ(chosen(prose(1'000'000)).n_ctx, 1024);
  EXPECT_EQ(chosen(prose(64 * 256)).n_ctx, 256);
  EXPECT_EQ(chosen(prose(63 * 256)).n_ctx, 128);
  EXPECT_EQ(chosen(prose(10)).n_ctx, 64);
  Facts small = prose(1'000'000);
  small.n_ctx_train = 50;
  EXPECT_EQ(chosen(small).n_ctx, 50);
}

TEST(Choices, MemoryLimitsContextAndBatch) {
  Facts facts = samples(10'000, 100);
  facts.n_targets = 10'000 * 20;
  facts.fits = [](const FinetuneOptions& tried) { return tried.n_ctx * tried.n_batch <= 1000; };
  FinetuneOptions o = chosen(facts);
  EXPECT_LE(o.n_ctx * o.n_batch, 1000);
  EXPECT_GE(o.n_batch * o.grad_acc, 24);  // as many samples in a step as without the limit
  EXPECT_LE(o.n_batch * o.grad_acc, 32);
  facts.fits = [](const FinetuneOptions& tried) { return tried.n_ctx * tried.n_batch <= 64; };
  o = chosen(facts);
  EXPECT_EQ(o.n_ctx, 64);
  EXPECT_THAT(why(facts, "--ctx"), HasSubstr("128 would be wanted"));
  facts.fits = [](const FinetuneOptions&) { return false; };
  EXPECT_THROW(chosen(facts), Error);
}

TEST(Choices, FewSamplesAreNotHeldOutButTrainedOn) {
  EXPECT_EQ(chosen(samples(23, 100)).val_split, 0);
  EXPECT_THAT(why(samples(23, 100), "--val-split"), HasSubstr("too few"));
  EXPECT_EQ(std::llround(chosen(samples(24, 100)).val_split * 24), 8);
  EXPECT_EQ(std::llround(chosen(samples(79, 100)).val_split * 79), 8);
  EXPECT_EQ(chosen(samples(80, 100)).val_split, 0.1);
  EXPECT_EQ(chosen(samples(10'000, 100)).val_split, 0.1);
  EXPECT_EQ(chosen(samples(100'000, 100)).val_split, 0.01);
}

TEST(Choices, TheBestAdapterHasTheName) {
  const FinetuneOptions many = chosen(samples(1000, 100)), few = chosen(samples(10, 100));
  EXPECT_TRUE(many.save_best);
  EXPECT_EQ(many.best_out, "my.gguf");
  EXPECT_EQ(many.lora_out, "my-last.gguf");
  EXPECT_FALSE(few.save_best);
  EXPECT_EQ(few.best_out, "");
  EXPECT_EQ(few.lora_out, "my.gguf");
  EXPECT_EQ(many.checkpoint_in, many.checkpoint_out);
}

TEST(Choices, TheRateFallsWithTheWidth) {
  Facts facts = samples(1000, 100);
  EXPECT_DOUBLE_EQ(chosen(facts).adam_alpha, 5e-4);
  facts.n_embd = 4096;
  EXPECT_DOUBLE_EQ(chosen(facts).adam_alpha, 2.9e-4);
  facts.n_embd = 64;
  EXPECT_DOUBLE_EQ(chosen(facts).adam_alpha, 7.4e-3);
}

TEST(Choices, WhatAnotherOptimizerDoesNotUseIsNotChosen) {
  FinetuneOptions o;
  o.optimizer = Optimizer::lbfgs;
  EXPECT_EQ(why(samples(1000, 100), "--adam-alpha", o), "not chosen");
  EXPECT_EQ(why(samples(1000, 100), "--warmup", o), "not chosen");
}

TEST(Choices, WhatIsAskedForStays) {
  FinetuneOptions o;
  o.n_ctx = 77;
  o.n_batch = 3;
  o.adam_alpha = 0.5;
  o.val_split = 0;
  o = chosen(samples(1000, 100), {.name = "my"}, given({"--ctx", "--batch", "--adam-alpha", "--val-split"}),
             o);
  EXPECT_EQ(o.n_ctx, 77);
  EXPECT_EQ(o.n_batch, 3);
  EXPECT_EQ(o.grad_acc, 1);
  EXPECT_EQ(o.adam_alpha, 0.5);
  EXPECT_EQ(o.val_split, 0);
  EXPECT_EQ(o.patience, 0);  // which needs held-out data
  EXPECT_EQ(o.eval_every, 0);
}

TEST(Choices, AFewLongSamplesAreEvaluatedTwelveTimesAndMore) {
  const FinetuneOptions o = chosen(samples(24, 300));
  EXPECT_GE(iteration_count(o, 16) / o.eval_every, 12);
}

TEST(Choices, HeldOutFilesOfTheUserAreUsed) {
  FinetuneOptions o;
  o.val_data = {"held-out.txt"};
  Facts facts = samples(10, 100);
  facts.n_val_samples = 300;
  o = chosen(facts, {.name = "my"}, given({"--val-data"}), o);
  EXPECT_GE(o.eval_every, 10);  // each takes as long as many steps
  EXPECT_EQ(o.val_split, 0);
  EXPECT_GT(o.eval_every, 0);
  EXPECT_TRUE(o.save_best);
}

TEST(Choices, HoursShortenARunAndNeverLengthenIt) {
  const Facts facts = samples(100'000, 100);
  const FinetuneOptions whole = chosen(facts), day = chosen(facts, {.hours = 1000, .name = "my"}),
                        hour = chosen(facts, {.hours = 1, .name = "my"});
  EXPECT_EQ(day.epochs, whole.epochs);
  EXPECT_LT(hour.epochs.value(), whole.epochs.value());
  EXPECT_LE(run_time(hour, facts, kMeasured).seconds, 3600);
  EXPECT_GE(run_time(hour, facts, kMeasured).seconds, 3600 * 0.8);
}

TEST(Choices, WithoutEvaluationsOnTheWayThereIsNoPatience) {
  const FinetuneOptions o = chosen(samples(1000, 100), {.name = "my"}, given({"--eval-every"}));
  EXPECT_EQ(o.eval_every, 0);
  EXPECT_EQ(o.patience, 0);
  EXPECT_TRUE(o.save_best);
}

TEST(Choices, PiecesOfProseThatAreAskedForFitTheContext) {
  FinetuneOptions asked;
  asked.window = 512;  // of so little text shorter ones would be chosen
  const Wishes wishes{.name = "my"};
  choose(asked, prose(10'000), wishes, given({"--window"}));
  check_options(asked);
  EXPECT_EQ(asked.n_ctx, 512);
  EXPECT_EQ(asked.val_split, 0);  // 20 pieces are too few
  choose(asked, samples(100, 30), wishes, given({"--window"}));
  EXPECT_EQ(asked.n_ctx, 512);  // of prose beside records
}

TEST(Choices, NoCheckpointIsNoLeaveToWriteOverWhatIsThere) {
  FinetuneOptions asked;
  asked.checkpoint_out = "";
  EXPECT_NE(chosen(samples(100, 100), {.name = "my"}, given({"--checkpoint-out"}), asked).checkpoint_in, "");
}

TEST(Choices, QualityIsTimeForAResult) {
  const Facts facts = samples(1000, 100);
  const auto of = [&](Quality quality) { return chosen(facts, {.quality = quality, .name = "my"}); };
  EXPECT_LT(of(Quality::quick).epochs.value(), of(Quality::good).epochs.value());
  EXPECT_LT(of(Quality::good).epochs.value(), of(Quality::best).epochs.value());
  EXPECT_LT(of(Quality::quick).lora_r.value(), of(Quality::best).lora_r.value());
}

TEST(Choices, EvaluationsTakeASmallPartOfTheTime) {
  for (const int64_t n : {80, 1000, 100'000}) {
    const Facts facts = samples(n, 100);
    const FinetuneOptions o = chosen(facts);
    const int64_t n_iter = iteration_count(o, n * 9 / 10);
    EXPECT_GE(n_iter / o.eval_every, 8) << n;
    EXPECT_LE(n_iter / o.eval_every, 120) << n;
    EXPECT_GE(o.patience, 3);
    EXPECT_LE(o.patience, n_iter / o.eval_every) << n;
  }
}

TEST(Choices, ALongRunThatOvertrainsEndsWithinThreePasses) {
  FinetuneOptions asked;
  asked.epochs = 60;
  const FinetuneOptions o = chosen(samples(200, 100), {.name = "my"}, given({"--epochs"}), asked);
  const int64_t evaluations_of_pass = 180 / (o.n_batch * o.grad_acc * o.eval_every);
  EXPECT_GE(o.patience, 4);
  EXPECT_LE(o.patience, std::max<int64_t>(4, 3 * (evaluations_of_pass + 1)));
}

}  // namespace choices_test
}  // namespace lora
