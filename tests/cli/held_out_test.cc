// The held-out loss: when it ends a run, and what becomes of one that is no number.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace held_out_test {

using Args = std::vector<std::string>;
using nlohmann::ordered_json;
using testing::HasSubstr;

class HeldOut : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }

  RunResult run(const Args& more, const RunOptions& options = {}) const {
    return folder.lora(kFinetune +
                           Args{"--checkpoint-out", "c.gguf", "--lora-out", "l.gguf", "--metrics", "m.jsonl",
                                "--threads", "1"} +
                           more,
                       options);
  }
};

// At a learning rate of 0 no evaluation is better than the first.
TEST_F(HeldOut, PatienceEndsTheRunAndAFinishedOneTrainsNoMore) {
  const Args flags = {"--val-split",  "0.2", "--eval-every", "2",  "--patience", "3",
                      "--adam-alpha", "0",   "--adam-iter",  "40", "--save-best"};
  const RunResult first = run(flags);
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.err, contains_regex("ended at iteration 8: --patience: 3 evaluations without a held-out "
                                        "loss below [0-9.]+\n"));
  const std::string checkpoint = folder.read("c.gguf");
  const Args again = flags + Args{"--checkpoint-in", "c.gguf"};
  EXPECT_THAT(run(again).err, HasSubstr("so nothing was trained"));
  EXPECT_EQ(folder.read("c.gguf"), checkpoint);
  EXPECT_THAT(run(again + Args{"--patience", "5"}).err,
              HasSubstr("ended at iteration 12: --patience: 5 eval"));
  EXPECT_THAT(run(again + Args{"--patience", "0", "--adam-iter", "15"}).err,
              HasSubstr("iteration 15 was reached"));
}

TEST_F(HeldOut, StoppedAndResumedItEndsAtTheSameEvaluation) {
  const Args flags = {"--val-split", "0.2", "--eval-every", "1",    "--patience",  "2",
                      "--warmup",    "0",   "--adam-alpha", "0.01", "--adam-iter", "200"};
  ASSERT_THAT(run(flags).err, HasSubstr("--patience: 2 evaluations"));
  const std::string lora = folder.read("l.gguf"), checkpoint = folder.read("c.gguf");
  const size_t n = lines_of(folder.read("m.jsonl")).size();
  ASSERT_GT(n, 3u);
  for (const size_t at : {size_t{1}, n - 2, n - 1}) {
    std::filesystem::remove(folder.at("c.gguf"));
    RunOptions options;
    options.signal_on = [&](std::string_view err) {
      return err.find(fmt::format("iter={:6} ", at)) == err.npos ? 0 : kInterrupt;
    };
    run(flags, options);
    run(flags + Args{"--checkpoint-in", "c.gguf"});
    EXPECT_EQ(folder.read("l.gguf"), lora) << at;
    EXPECT_EQ(folder.read("c.gguf"), checkpoint) << at;
    EXPECT_EQ(lines_of(folder.read("m.jsonl")).size(), n);
  }
}

TEST_F(HeldOut, PatienceNeedsEvaluationsToCount) {
  expect_error(run({"--patience", "2"}), 2, "--patience: needs --val-data or --val-split");
  expect_error(run({"--patience", "2", "--val-split", "0.1"}), 2, "--patience: needs --eval-every");
  const std::string help = folder.lora({"finetune", "--help-all"}).out;
  EXPECT_THAT(help, HasSubstr("--patience N"));
  EXPECT_THAT(help, contains_regex("new lowest loss of training"));
}

// One row of the embedding is not a number, and a held-out sample has its token. Training is fine.
TEST_F(HeldOut, ALossThatIsNoNumberIsNoBestAndLeavesEveryFileReadable) {
  write_model_with_a_row_of_nan(folder, "nan.gguf", "zebra");
  folder.write("val.txt", "<s>The ship went north.<s>The zebra went north.<s>The ship went south.");
  const Args flags = {"-m",          "nan.gguf", "--val-data", "val.txt", "--eval-every", "1", "--save-best",
                      "--adam-iter", "2",        "--patience", "4"};
  const RunResult first = run(flags);
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.err,
              HasSubstr("warning: iteration 1: the held-out loss is nan in sample 2 of --val-data"));
  EXPECT_FALSE(folder.has("l-BEST.gguf"));
  const RunResult resumed = run(flags + Args{"--checkpoint-in", "c.gguf", "--adam-iter", "9"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.err,
              HasSubstr("ended at iteration 4: --patience: 4 evaluations without a held-out loss that is "
                        "a number"));
  const auto lines = lines_of(folder.read("m.jsonl"));
  ASSERT_EQ(lines.size(), 4u);
  for (const std::string& line : lines) EXPECT_TRUE(parse_json(line)["val_loss"].is_null()) << line;
  const RunResult plot = folder.lora({"plot", "m.jsonl", "-o", "m.svg"});
  EXPECT_EQ(plot.status, 0) << plot.err;
  EXPECT_EQ(folder.read("m.svg").find("nan"), std::string::npos);
  for (const char* name : {"l.gguf", "c.gguf"}) EXPECT_EQ(folder.lora({"inspect", name, "--json"}).status, 0);
}

// What f32 cannot hold would be written as infinity, and not be read again.
TEST_F(HeldOut, NumbersThatF32CannotHoldAreWrongUsage) {
  for (const auto& [flag, value] : {std::pair{"--lora-alpha", "1e39"},
                                    {"--lora-alpha", "1e-60"},
                                    {"--rope-freq-base", "1e300"},
                                    {"--rope-freq-scale", "1e300"},
                                    {"--norm-rms-eps", "1e40"},
                                    {"--lora-dropout", "0.999999999"}}) {
    expect_error(run({flag, value}), 2, std::string(flag) + ": ");
  }
  expect_error(folder.lora({"eval", "-m", "model.gguf", "-p", "x", "--rope-freq-base", "1e300"}), 2,
               "--rope-freq-base: ");
  EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "text.txt"}));
}

}  // namespace held_out_test
}  // namespace lora::test
