// What a run survives: kills at any moment, damaged checkpoints, samples whose loss is not a number.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "cli_test.h"

namespace lora::test {
namespace survival_test {

using Args = std::vector<std::string>;
using nlohmann::ordered_json;

class Survival : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }

  // What must be the same in two runs' metrics: all but times and memory.
  static std::vector<std::string> numbers(const std::string& metrics) {
    std::vector<std::string> lines;
    for (const std::string& line : lines_of(metrics)) {
      ordered_json record = parse_json(line);
      for (const char* key : {"dt_s", "tok_per_s", "eta_s", "rss_bytes"}) record.erase(key);
      lines.push_back(record.dump());
    }
    return lines;
  }
};

bool has_temporary(const Folder& folder) {
  const std::set<std::string> names = folder.names();
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.ends_with(".tmp"); });
}

// LORA_KILLS: how many runs are killed (12), in a folder in TEST_TMPDIR (/tmp), each with 1 to 3 threads. A
// save follows each iteration and takes about as long, so kills hit both. The moments are drawn with a fixed
// seed; what they hit depends on the machine, what is asked does not.
void expect_survives_kills(const Folder& folder, const Args& optimizer, int n_iter, const auto& numbers) {
  const char* kills = std::getenv("LORA_KILLS");
  const int n_kills = kills ? std::atoi(kills) : 12;
  const Args flags = kFinetune +
                     Args{"--lora-out",   "lora.gguf", "--checkpoint-out", "c.gguf", "--metrics",   "m.jsonl",
                          "--lora-r",     "16",        "--save-every",     "1",      "--val-split", "0.1",
                          "--eval-every", "7",         "--save-best"} +
                     optimizer;
  const Args again = flags + Args{"--checkpoint-in", "c.gguf"};
  const auto seconds = [&](const Args& args) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(folder.lora(args).status, 0);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const double alone_s = seconds(flags);
  const std::string lora = folder.read("lora.gguf"), checkpoint = folder.read("c.gguf"),
                    metrics = folder.read("m.jsonl"), best = folder.read("lora-BEST.gguf");
  const std::set<std::string> names = folder.names();
  ASSERT_EQ(lines_of(metrics).size(), size_t(n_iter));
  const double start_s = seconds(again);  // trains nothing
  for (const char* name : {"lora.gguf", "lora-BEST.gguf", "c.gguf", "m.jsonl"})
    std::filesystem::remove(folder.at(name));

  std::mt19937 random(20230913);
  int n_done = 0, n_in_a_save = 0;
  for (int i = 0; i < n_kills; ++i) {
    RunOptions options;
    options.kill_after_s = std::uniform_real_distribution(
        0.2 * start_s, start_s + 1.6 * std::max(0.0, alone_s - start_s) / n_kills)(random);
    const std::string threads = std::to_string(std::uniform_int_distribution(1, 3)(random));
    const RunResult run = folder.lora(again + Args{"--threads", threads}, options);
    if (run.status == 0) {
      ++n_done;
    } else {
      ASSERT_EQ(run.status, 128 + kKill) << run.err;
    }
    n_in_a_save += has_temporary(folder);
    ASSERT_THAT(run.err, testing::Not(testing::HasSubstr("error:")));
  }
  EXPECT_TRUE(folder.has("c.gguf")) << "no killed run has saved anything";
  const size_t n_before = lines_of(folder.read("m.jsonl")).size();
  const RunResult last = folder.lora(again);
  ASSERT_EQ(last.status, 0) << last.err;
  EXPECT_EQ(folder.read("lora.gguf"), lora);
  EXPECT_EQ(folder.read("c.gguf"), checkpoint);
  EXPECT_EQ(numbers(folder.read("m.jsonl")), numbers(metrics));
  EXPECT_EQ(folder.read("lora-BEST.gguf"), best);
  EXPECT_EQ(folder.names(), names);
  std::printf(
      "%d kills, %d of them during a save, %d runs had ended before; %zu of %d iterations by killed runs\n",
      n_kills, n_in_a_save, n_done, n_before, n_iter);
}

TEST_F(Survival, KilledAtRandomMomentsItEndsWithTheSameBytes) {
  const int n_iter = std::getenv("LORA_KILLS") ? 400 : 60;
  expect_survives_kills(folder, {"--adam-iter", std::to_string(n_iter)}, n_iter, numbers);
}

TEST_F(Survival, SoDoesLbfgs) {
  const int n_iter = std::getenv("LORA_KILLS") ? 100 : 20;
  expect_survives_kills(folder, {"--use-lbfgs", "--lbfgs-iter", std::to_string(n_iter)}, n_iter, numbers);
}

// Any byte of a checkpoint that changes is seen.
TEST_F(Survival, ADamagedCheckpointIsRefused) {
  const Args flags = kFinetune + Args{"--lora-out", "", "--checkpoint-out", "c.gguf"};
  ASSERT_EQ(folder.lora(flags).status, 0);
  const std::string good = folder.read("c.gguf");
  const Args resume = flags + Args{"--checkpoint-in", "bad.gguf", "--checkpoint-out", ""};
  const auto refused = [&](std::string bytes) {
    folder.write("bad.gguf", bytes);
    const RunResult run = folder.lora(resume);
    EXPECT_EQ(run.status, 1);
    expect_error(run, 1, "bad.gguf: ");
    return run.err;
  };
  for (const size_t place :
       {good.find("iteration") + 20, good.size() / 3, good.size() / 2, good.size() - 40}) {
    std::string bytes = good;
    bytes[place] = char(bytes[place] ^ 4);
    EXPECT_THAT(refused(bytes),
                testing::AnyOf(testing::HasSubstr("the file is damaged"), testing::HasSubstr("key")))
        << place;
  }
  refused(good.substr(0, good.size() / 2));
  refused(good.substr(0, 100));
  refused("");
}

TEST_F(Survival, AMissingCheckpointThatWasNamedIsSaid) {
  const RunResult run = folder.lora(kFinetune + Args{"--checkpoint-in", "typo.gguf", "--checkpoint-out", ""});
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.err,
              testing::HasSubstr("warning: resume: no file typo.gguf, training starts from scratch\n"));
}

TEST_F(Survival, CheckpointsThatWereLookedForAreNamed) {
  const Args finetune = {"finetune", "-m",    "model.gguf", "--train-data", "text.txt", "--sample-start",
                         "<s>",      "--ctx", "32",         "--batch",      "2",        "--adam-iter",
                         "1"};
  const auto said = [&](const Args& more) { return folder.lora(finetune + more).err; };
  EXPECT_THAT(said({"--checkpoint-out", "mine-ITERATION.gguf", "--lora-out", ""}),
              testing::HasSubstr("resume: no file mine-LATEST.gguf or checkpoint.gguf, training starts"));
  EXPECT_THAT(said({"--checkpoint-out", "", "--lora-out", ""}),
              testing::HasSubstr("resume: no file checkpoint.gguf, training starts"));
}

// One row of the embedding is not a number: samples without its token train as ever, the first with it ends
// the run.
TEST_F(Survival, ALossThatIsNotANumberStopsTheRunAndNamesTheSample) {
  write_model_with_a_row_of_nan(folder, "nan.gguf", "zebra");
  std::string text;
  for (int i = 1; i <= 20; ++i) text += fmt::format("<s>The {} went north.", i == 13 ? "zebra" : "ship");
  folder.write("text.txt", text);
  const RunResult run =
      folder.lora(kFinetune + Args{"-m", "nan.gguf", "--no-shuffle", "--adam-iter", "20", "--save-every", "2",
                                   "--checkpoint-out", "c.gguf", "--lora-out", "", "--metrics", "m.jsonl"});
  expect_error(run, 1, "iteration 7: the loss is ");
  EXPECT_THAT(run.err,
              testing::HasSubstr(" in sample 13 (in file order): the step is not applied; the last good "
                                 "checkpoint is c.gguf; where the loss grew before, "));
  EXPECT_EQ(lines_of(folder.read("m.jsonl")).size(), 6u);
  const RunResult only = folder.lora({"finetune", "-m", "nan.gguf", "--checkpoint-in", "c.gguf",
                                      "--only-write-lora", "--lora-out", "lora-ITERATION.gguf"});
  EXPECT_EQ(only.status, 0) << only.err;
  EXPECT_TRUE(folder.has("lora-6.gguf"));
}

}  // namespace survival_test
}  // namespace lora::test
