// Files that are another run's, or have another use, under the names of a run's outputs.
#include "resume.h"

namespace lora::test {
namespace resume_spares_test {

using ResumeSpares = Resume;

TEST_F(ResumeSpares, OneThatGoesOnWritesOverNoOtherRunsFiles) {
  run();
  run({"--train-data", "other.txt", "--checkpoint-out", "c.gguf", "--lora-out", "l.gguf"});
  const auto before = files();
  expect_error(folder.lora(flags({"--lora-out", "l.gguf", "--adam-iter", "3"})), 1,
               "l.gguf: is there already, and not of the run of checkpoint-LATEST.gguf");
  expect_refused({"--checkpoint-in", "checkpoint-2.gguf", "--checkpoint-out", "c.gguf", "--adam-iter", "3"},
                 "c.gguf: data differs");
  EXPECT_TRUE(files() == before);
  // A new name is its own from then on.
  run({"--lora-out", "new.gguf", "--adam-iter", "3"});
  run({"--lora-out", "./new.gguf", "--adam-iter", "4"});
}

// Not the names tell whose an adapter is: the adapter itself does.
TEST_F(ResumeSpares, AnotherRunsAdapterStaysWhereverItStands) {
  const std::string name = "ggml-lora-LATEST-f32.gguf",
                    refusal = ": is there already, and not of the run of ";
  run({"--checkpoint-out", "a.gguf", "--lora-out", "l.gguf"});
  // In another folder, under the default name.
  const Folder there;
  there.write("text.txt", ship_sentences());
  there.write("other.txt", ship_sentences("<s>Once. "));
  ASSERT_EQ(there.lora(flags({"--train-data", "other.txt", "--checkpoint-out", ""})).status, 0);
  const std::string adapter = there.read(name);
  expect_error(there.lora(flags({"--checkpoint-in", folder.at("a.gguf"), "--adam-iter", "3"})), 1, refusal);
  EXPECT_EQ(there.read(name), adapter);
  EXPECT_FALSE(there.has("checkpoint-LATEST.gguf"));
  // Under the run's own name, which another was told to take over.
  run({"--train-data", "other.txt", "--checkpoint-in", "", "--checkpoint-out", "b.gguf", "--lora-out",
       "l.gguf"});
  const auto before = files();
  expect_error(folder.lora(flags({"--checkpoint-out", "a.gguf", "--lora-out", "l.gguf", "--adam-iter", "3"})),
               1, "l.gguf" + refusal + "a.gguf");
  // Of equal seed and context.
  expect_error(folder.lora({"finetune", "-m", "model.gguf", "--only-write-lora", "--checkpoint-in", "a.gguf",
                            "--lora-out", "l.gguf"}),
               1, "l.gguf" + refusal + "a.gguf");
  EXPECT_TRUE(files() == before);
}

TEST_F(ResumeSpares, MetricsOfAnotherRunAreEmptiedOnlyWhenToldAndNotBeforeAStep) {
  run({"--checkpoint-out", "a.gguf", "--lora-out", "", "--metrics", "m"});
  const Args other = {"--checkpoint-out", "b.gguf", "--lora-out", "", "--metrics", "m", "--adam-iter", "1"};
  const auto before = files();
  const RunResult refused = folder.lora(flags(other));
  expect_error(refused, 1, "--metrics: m: is there already, and there is no checkpoint to go on from");
  EXPECT_THAT(refused.err, HasSubstr("--checkpoint-in '' begins anew over it, another name in --metrics"));
  EXPECT_TRUE(files() == before);
  const Args anew = other + Args{"--checkpoint-in", ""};
  write_model_with_a_row_of_nan(folder, "nan.gguf", "zebra");
  folder.write("zebras.txt", ship_sentences("<s>A zebra. "));
  expect_error(folder.lora(flags(anew + Args{"-m", "nan.gguf", "--train-data", "zebras.txt"})), 1,
               "the step is not applied");
  EXPECT_EQ(folder.read("m"), before.at("m"));
  EXPECT_FALSE(folder.has("b.gguf"));
  run(anew);
  EXPECT_EQ(lines_of(folder.read("m")).size(), 1u);
}

// Not even one that goes on: what it would cut is another's.
TEST_F(ResumeSpares, MetricsOfAnotherRunAreNotCutByOneThatGoesOn) {
  run({"--checkpoint-out", "a.gguf", "--lora-out", "a-lora.gguf", "--metrics", "m", "--adam-iter", "4"});
  const Args other = {"--train-data", "other.txt", "--checkpoint-out", "b.gguf", "--lora-out", "b-lora.gguf"};
  run(other);
  const auto before = files();
  expect_error(folder.lora(flags(other + Args{"--metrics", "m", "--adam-iter", "3"})), 1,
               "--metrics: m: is there already, and not known to be of the run of b.gguf: give another name");
  folder.write("old", R"({"iter":1,"epoch":0.1})"
                      "\n");  // as the first versions wrote it
  expect_error(folder.lora(flags(other + Args{"--metrics", "old", "--adam-iter", "3"})), 1,
               "not known to be");
  std::filesystem::remove(folder.at("old"));
  EXPECT_TRUE(files() == before);
  run(other + Args{"--metrics", "m2", "--adam-iter", "3"});
  run(other + Args{"--metrics", "m2", "--adam-iter", "5"});
  EXPECT_EQ(lines_of(folder.read("m2")).size(), 3u);  // 3 to 5
  // Cut back to nothing it is the run's still.
  run({"--checkpoint-out", "a.gguf", "--lora-out", "a-lora.gguf", "--metrics", "m", "--adam-iter", "6"});
  EXPECT_EQ(lines_of(folder.read("m")).size(), 6u);
}

TEST_F(ResumeSpares, NoOutputTakesTheNameOfACheckpointThatIsStillToCome) {
  const auto expect_usage = [&](const Args& more, const std::string& what) {
    const auto before = files();
    expect_error(folder.lora(flags(more)), 1, what);
    EXPECT_TRUE(files() == before) << what;
  };
  expect_usage({"--checkpoint-in", "c.gguf", "--lora-out", "c.gguf"},
               "--lora-out: c.gguf is the file of --checkpoint-in");
  expect_usage({"--lora-out", "checkpoint.gguf"},
               "--lora-out: checkpoint.gguf is the file of --checkpoint-in");
  expect_usage({"--checkpoint-in", "c.gguf", "--metrics", "./c.gguf"},
               "--metrics: ./c.gguf is the file of --checkpoint-in");
  expect_usage(
      {"--checkpoint-in", "l-7.gguf", "--lora-out", "l-ITERATION.gguf"},
      "--lora-out: l-ITERATION.gguf, with a number in place of ITERATION, can be l-7.gguf, the file of "
      "--checkpoint-in");
}

// Whatever iteration it is that would be saved over it.
TEST_F(ResumeSpares, NumberedOutputsAreNoOtherFile) {
  for (const auto& [more, what] :
       {std::pair{Args{"--checkpoint-out", "l-1.gguf", "--lora-out", "l-ITERATION.gguf"},
                  "can be l-1.gguf, the file of --checkpoint-out"},
        {Args{"--checkpoint-out", "./l-ITERATION.gguf", "--lora-out", "l-ITERATION.gguf"},
         "l-LATEST.gguf is the file of --lora-out"},
        {Args{"--checkpoint-out", "l-ITERATION.gguf", "--lora-out", "l-10.gguf"},
         "can be l-10.gguf, the file of --lora-out"},
        {Args{"--checkpoint-out", "c-ITERATION", "--fn-latest", "7", "--lora-out", "c-1ITERATION"},
         "can be c-ITERATION, the file of --checkpoint-out"},
        {Args{"--metrics", "l-12", "--lora-out", "l-ITERATION"}, "can be l-12, the file of --metrics"},
        {Args{"--lora-out", "l-ITERATION", "--lora-init", "l-2"}, "can be l-2, the file of --lora-init"}}) {
    const RunResult result = folder.lora(flags(more));
    expect_error(result, 1, what);
    EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "text.txt", "other.txt"}));
  }
  run({"--checkpoint-out", "l1-ITERATION.gguf", "--lora-out", "l2-ITERATION.gguf"});
}

TEST_F(ResumeSpares, TheBestAdapterIsNotTheLatest) {
  for (const Args& names :
       {Args{"--fn-latest", "BEST"}, Args{"--lora-out", "l-ITERATION.gguf", "--fn-latest", "BEST"}}) {
    const RunResult result = folder.lora(flags(names + Args{"--save-best", "--val-split", "0.1"}));
    expect_error(result, 2, "BEST");
    EXPECT_THAT(result.err,
                AllOf(HasSubstr("error: --save-best: "), HasSubstr("is the latest adapter's file")));
  }
}

TEST_F(ResumeSpares, OnlyWriteLoraTakesTheLatestAndSparesWhatIsNotItsOwn) {
  run();
  const Args write = {"finetune", "-m", "model.gguf", "--only-write-lora", "--lora-out"};
  for (int twice = 0; twice < 2; ++twice) {
    const RunResult result = folder.lora(write + Args{"w.gguf"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("--only-write-lora: checkpoint-LATEST.gguf was read"));
  }
  EXPECT_EQ(folder.read("w.gguf"), folder.read("ggml-lora-2-f32.gguf"));
  const auto before = files();
  expect_error(folder.lora(write + Args{"text.txt"}), 1,
               "text.txt: is there already, and not of the run of checkpoint-LATEST.gguf");
  expect_error(folder.lora(write + Args{"model.gguf"}), 1,
               "--lora-out: model.gguf is the file of --model-base");
  EXPECT_TRUE(files() == before);
}

}  // namespace resume_spares_test
}  // namespace lora::test
