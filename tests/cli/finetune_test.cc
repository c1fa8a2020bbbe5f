// What a fine-tuning run says, writes, and repeats.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <regex>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace finetune_test {

using Args = std::vector<std::string>;
using nlohmann::ordered_json;

class Finetune : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }

  // kFinetune and these flags; fails the test unless the status is 0.
  RunResult run(const Args& flags, const RunOptions& options = {}) const {
    const RunResult result = folder.lora(kFinetune + flags, options);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  }
  // The adapter's bytes after a run with these flags.
  std::string adapter(const Args& flags, const RunOptions& options = {}) const {
    run(Args{"--lora-out", "lora.gguf", "--checkpoint-out", ""} + flags, options);
    return folder.read("lora.gguf");
  }
  std::vector<ordered_json> metrics() const {
    std::vector<ordered_json> records;
    for (const std::string& line : lines_of(folder.read("m.jsonl"))) records.push_back(parse_json(line));
    return records;
  }
};

// Whoever reads the messages may be gone, or their disk full: the run goes on and saves.
TEST_F(Finetune, MessagesThatCannotBeWrittenDoNotEndTheRun) {
  if (!is_posix()) GTEST_SKIP() << "only POSIX has what it needs";
  const std::string want = adapter({"--adam-iter", "30", "--seed", "1"});
  for (const char* messages : {"2> /dev/full", "2>&1 | head -n 2"}) {
    std::filesystem::remove(folder.at("lora.gguf"));
    Args args = {"/bin/bash", "-c", "set -o pipefail; \"$0\" \"$@\" " + std::string(messages), LORA_PROGRAM};
    for (const std::string& arg : kFinetune) args.push_back(arg);
    for (const char* arg :
         {"--adam-iter", "30", "--seed", "1", "--lora-out", "lora.gguf", "--checkpoint-out", ""}) {
      args.push_back(arg);
    }
    EXPECT_EQ(run_program(args, {.directory = folder.path}).status, 0) << messages;
    EXPECT_EQ(folder.read("lora.gguf"), want) << messages;
  }
}

TEST_F(Finetune, IntoAPipeEachIterationIsOneLine) {
  const RunResult result = run({"--adam-iter", "3"});
  EXPECT_EQ(result.out, "");
  const std::regex form(
      R"(iter= {5}(\d) sched=\d\.\d{6} loss=\d+\.\d{6} dt=\d\d:\d\d:\d\d(\.\d{3})? eta=\d\d:\d\d:\d\d tok/s=\d+\.\d)");
  std::string iterations;
  for (const std::string& line : lines_of(result.err)) {
    std::smatch match;
    EXPECT_EQ(line.find_first_of("\r\x1b"), line.npos) << line;
    if (std::regex_match(line, match, form)) iterations += match[1];
    EXPECT_EQ(line.starts_with("iter="), !match.empty()) << line;
  }
  EXPECT_EQ(iterations, "123");
}

TEST_F(Finetune, SaysWhatItReadsAndTrainsBeforehand) {
  folder.write("text.txt", "<s>One short sample.<s> \n<s>" + ship_sentences("") + "<s>[/INST]</s>");
  const RunResult result = run({"--seed", "77", "--ctx", "20", "--allow-cut"});
  const std::string before = result.err.substr(0, result.err.find("iter="));
  EXPECT_THAT(before, testing::HasSubstr("data: 3 samples, "));
  EXPECT_THAT(before, testing::HasSubstr(" 1 cut at 20 tokens (573 tokens lost), 1 blank skipped"));
  EXPECT_THAT(before, testing::HasSubstr("warning: the text holds </s>, read as plain text"));
  EXPECT_THAT(before, testing::HasSubstr("lora: 84 tensors, 116736 parameters, rank 4, alpha 4; seed 77"));
  EXPECT_THAT(before, testing::HasSubstr(
                          "tokens in the text of --train-data are beyond the first 20 of their sample"));
  EXPECT_THAT(before, contains_regex("compute: [a-z0-9]+ kernels, (f32|bf16|int8) inputs, [0-9]+ threads"));
  EXPECT_THAT(before, testing::HasSubstr("memory: "));
}

TEST_F(Finetune, ValuesThatDoNotFitTheRunAreNamedBeforeItAndByEstimate) {
  const std::string advice =
      "warning: the schedule does not fit a run of 2 iterations: --warmup 100 is longer";
  const std::string err = run({}).err;
  EXPECT_LT(err.find(advice), err.find("memory: ")) << err;
  const Args fitting = {"--warmup", "0", "--cos-decay-steps", "2"};
  EXPECT_THAT(run(fitting).err, testing::Not(testing::HasSubstr("warning: ")));
  const Args estimate = Args{"estimate"} + Args(kFinetune.begin() + 1, kFinetune.end());
  EXPECT_THAT(folder.lora(estimate).err, testing::HasSubstr(advice));
  const Args long_run = {"--warmup", "0", "--cos-decay-steps", "1020", "--adam-iter", "1020"};
  EXPECT_THAT(folder.lora(estimate + long_run).err,
              testing::HasSubstr("warning: the run reads its data 51 times, "));
}

// A hundred times the default learning rate, at once and after a warmup; the default is silent.
TEST_F(Finetune, ARunThatDivergesSaysSoEarlyAndNamesWhatHelps) {
  const auto warnings = [&](const Args& flags) {
    std::vector<std::string> lines = lines_of(
        run(Args{"-t", "1", "--save-every", "5", "--checkpoint-out", "c-ITERATION.gguf"} + flags).err);
    std::erase_if(lines, [](const std::string& line) { return line.find("diverges") == line.npos; });
    return lines;
  };
  EXPECT_THAT(warnings({"--warmup", "0", "--adam-iter", "25"}), testing::IsEmpty());
  const auto at_once =
      warnings({"--warmup", "0", "--adam-iter", "20", "--adam-alpha", "0.1", "--adam-gclip", "0"});
  ASSERT_EQ(at_once.size(), 1u);
  EXPECT_THAT(at_once[0],
              contains_regex("warning: iteration [0-9]+: the run diverges: the loss was .*; what helps: "
                             "--adam-alpha 0.033 --adam-gclip 1 --warmup 5%; nothing from before it"));
  const auto later = warnings({"--adam-iter", "75", "--adam-alpha", "0.1"});
  ASSERT_EQ(later.size(), 1u);
  std::smatch found;
  ASSERT_TRUE(std::regex_search(later[0], found, std::regex("--checkpoint-in (c-([0-9]+)\\.gguf) goes on")))
      << later[0];
  EXPECT_TRUE(folder.has(found[1]));
  EXPECT_LT(std::stoi(found[2]), 60);
}

// SPEC's formulas: warmup, then the cosine, then the floor.
double expected_sched(int iter) {
  const double warmup = 2, steps = 3, min = 0.25, floor = 0.0002 / 0.002;
  const double t = std::min(iter - warmup, steps);
  const double sched =
      iter < warmup ? iter / warmup : min + (1 - min) / 2 * (1 + std::cos(std::numbers::pi * t / steps));
  return floor + sched * (1 - floor);
}

TEST_F(Finetune, MetricsHoldTheContractsKeysAndFormulas) {
  run({"--adam-iter", "6", "--metrics", "m.jsonl", "--precision", "f32", "--warmup", "2", "--cos-decay-steps",
       "3", "--cos-decay-min", "0.25", "--adam-alpha", "0.002", "--adam-min-alpha", "0.0002", "--grad-acc",
       "2"});
  const auto records = metrics();
  ASSERT_EQ(records.size(), 6u);
  Args keys = {"iter",      "run",    "epoch", "sample",    "loss",  "lr",        "sched",
               "grad_norm", "tokens", "dt_s",  "tok_per_s", "eta_s", "rss_bytes", "precision"};
  int iter = 0;
  for (const ordered_json& r : records) {
    ++iter;
    Args found;
    for (const auto& [key, value] : r.items()) found.push_back(key);
    EXPECT_EQ(found, keys);
    std::erase(keys, "run");  // in the first line
    EXPECT_EQ(r["iter"], iter);
    EXPECT_EQ(r["sample"], 4 * iter);
    EXPECT_NEAR(r["epoch"].get<double>(), 4.0 * iter / 40, 1e-9);
    EXPECT_NEAR(r["sched"].get<double>(), expected_sched(iter), 1e-8) << iter;
    EXPECT_NEAR(r["lr"].get<double>(), 0.002 * expected_sched(iter), 1e-11) << iter;
    EXPECT_GT(r["tokens"], 4 * 10);
    EXPECT_NEAR(r["tok_per_s"].get<double>() * r["dt_s"].get<double>() / r["tokens"].get<double>(), 1, 1e-6);
    EXPECT_GT(r["rss_bytes"], 1 << 20);
    EXPECT_EQ(r["precision"], "f32");
  }
  EXPECT_EQ(records.back()["eta_s"], 0);
}

// In bytes, of "58.1 MiB".
double bytes_of(const std::string& number, const std::string& unit) {
  const double units[] = {1, 1024, 1 << 20, 1 << 30};
  return std::stod(number) * units[std::string("BKMG").find(unit[0])];
}

TEST_F(Finetune, MemoryIsSaidInASentenceThenByPart) {
  const RunResult result = run({});
  std::smatch found;
  ASSERT_TRUE(std::regex_search(
      result.err, found,
      std::regex(
          R"(\nmemory: needs ([\d.]+) (\w+) beyond the model's ([\d.]+) (\w+), of [\d.]+ [MG]iB free: )"
          R"((program, vocabulary and samples [\d.]+ \w+ \(there already\), [^;\n]+); [\d.]+ MiB are free\n)")))
      << result.err;
  EXPECT_NEAR(bytes_of(found[3], found[4]), double(std::filesystem::file_size(kBundledModel)), 1e4);
  const std::string parts = found[5];
  const std::regex part(R"(([\d.]+) ([KMG]?i?B)\b)");
  double sum = 0;
  for (std::sregex_iterator it(parts.begin(), parts.end(), part), end; it != end; ++it)
    sum += bytes_of((*it)[1], (*it)[2]);
  EXPECT_NEAR(sum / bytes_of(found[1], found[2]), 1, 0.02) << result.err;
}

TEST_F(Finetune, MetricsToStandardOutputAreTheSameLines) {
  const RunResult printed = run({"--metrics", "-", "--adam-iter", "3"});
  run({"--metrics", "m.jsonl", "--adam-iter", "3"});
  const std::vector<std::string> lines = lines_of(printed.out);
  ASSERT_EQ(lines.size(), 3u);
  for (size_t i = 0; i < lines.size(); ++i) {
    ordered_json line = parse_json(lines[i]), kept = metrics()[i];
    for (const char* key : {"loss", "grad_norm", "sample"}) EXPECT_EQ(line[key], kept[key]);
  }
  EXPECT_FALSE(folder.has("-"));
}

TEST_F(Finetune, MetricsFloatsHaveNineSignificantDigits) {
  run({"--metrics", "m.jsonl"});
  const std::regex number(R"rx("(loss|grad_norm)":([0-9.e+-]+))rx");
  const std::string text = folder.read("m.jsonl");
  int n = 0;
  size_t longest = 0;
  for (auto match = std::sregex_iterator(text.begin(), text.end(), number); match != std::sregex_iterator();
       ++match) {
    const std::string digits = (*match)[2];
    EXPECT_EQ(fmt::format("{:.9g}", std::stod(digits)), digits);
    longest = std::max(longest, digits.size());
    ++n;
  }
  EXPECT_EQ(n, 4);
  EXPECT_GE(longest, 10u);  // nine digits and the point, unless all four end in zeros
}

TEST_F(Finetune, TheFirstLossIsWhatEvalFindsForTheBase) {
  const std::string sentence = "The ship sailed to the north, and the wind was against it all day.";
  folder.write("text.txt", "<s>" + sentence);
  run({"--batch", "1", "--no-separate-with-eos", "--precision", "f32", "--metrics", "m.jsonl"});
  const RunResult eval =
      folder.lora({"eval", "-m", "model.gguf", "-p", sentence, "--precision", "f32", "--json"});
  const auto want = parse_json(eval.out);
  EXPECT_EQ(metrics()[0]["tokens"], want["tokens"]);
  EXPECT_NEAR(metrics()[0]["loss"].get<double>(), want["nll"].get<double>(), 1e-6);
}

TEST_F(Finetune, AFreshRunTruncatesMetricsAndAResumedOneCutsThemBack) {
  const Args flags = {"--metrics", "m.jsonl", "--save-every", "3", "--checkpoint-out", "c-ITERATION.gguf"};
  folder.write("m.jsonl", R"({"iter":1,"loss":5})"
                          "\n"
                          R"({"iter":2,"loss":4})"
                          "\n");  // an older run's
  run(flags + Args{"--adam-iter", "5"});
  const auto first = metrics();
  ASSERT_EQ(first.size(), 5u);
  run(flags + Args{"--adam-iter", "4", "--checkpoint-in", "c-3.gguf"});
  const auto second = metrics();
  ASSERT_EQ(second.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(second[i]["iter"], i + 1);
    EXPECT_EQ(second[i]["loss"], first[i]["loss"]);
    EXPECT_EQ(second[i]["grad_norm"], first[i]["grad_norm"]);
  }
  EXPECT_EQ(second[2], first[2]);  // kept, not written anew
}

TEST_F(Finetune, SavesUnderTheNumberAndAsTheLatest) {
  run({"--adam-iter", "5", "--save-every", "2", "--lora-out", "a-ITERATION.gguf", "--checkpoint-out",
       "c-@.gguf", "--pattern-fn-it", "@", "--fn-latest", "last"});
  EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "text.txt", "a-ITERATION.gguf", "c-2.gguf",
                                                   "c-4.gguf", "c-5.gguf", "c-last.gguf"}));
  EXPECT_EQ(folder.read("c-last.gguf"), folder.read("c-5.gguf"));
  EXPECT_NE(folder.read("c-4.gguf"), folder.read("c-5.gguf"));
}

TEST_F(Finetune, DefaultNamesAreThoseOfTheGuide) {
  run({});
  EXPECT_EQ(folder.names(),
            (std::set<std::string>{"model.gguf", "text.txt", "checkpoint-2.gguf", "checkpoint-LATEST.gguf",
                                   "ggml-lora-2-f32.gguf", "ggml-lora-LATEST-f32.gguf"}));
}

TEST_F(Finetune, EmptyNamesWriteNothing) {
  run({"--lora-out", "", "--checkpoint-out="});
  EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "text.txt"}));
}

TEST_F(Finetune, ALeftoverTemporaryFileIsRemoved) {
  const std::string left = "lora.gguf.0123456789abcdef.tmp";
  folder.write(left, std::string(1 << 20, 'x'));
  adapter({});
  EXPECT_FALSE(folder.has(left));
  EXPECT_EQ(folder.lora({"inspect", "lora.gguf"}).status, 0);
}

TEST_F(Finetune, OneSeedOneAdapterWhateverTheThreads) {
  for (const RunOptions& options : {RunOptions{}, RunOptions{.environment = {{"LORA_ISA", "scalar"}}}}) {
    const std::string one = adapter({"--threads", "1"}, options);
    ASSERT_GT(one.size(), size_t{100000});
    EXPECT_EQ(adapter({"--threads", "2"}, options), one);
    EXPECT_EQ(adapter({"--threads", "5", "--use-checkpointing"}, options), one);
    EXPECT_NE(adapter({"--seed", "6"}, options), one);
  }
}

TEST_F(Finetune, ARandomSeedIsPrintedAndRepeatsTheRun) {
  const RunResult first = run({"--seed", "-1", "--lora-out", "lora.gguf"});
  std::smatch match;
  ASSERT_TRUE(std::regex_search(first.err, match, std::regex("seed ([0-9]+)\n")));
  const std::string bytes = folder.read("lora.gguf");
  EXPECT_EQ(adapter({"--seed", match[1]}), bytes);
}

TEST_F(Finetune, ResumingEndsWithTheBytesOfAnUninterruptedRun) {
  const Args out = {"--lora-out", "lora-ITERATION.gguf", "--checkpoint-out", "c-ITERATION.gguf"};
  run(out + Args{"--adam-iter", "4"});
  const std::string lora = folder.read("lora-LATEST.gguf"), checkpoint = folder.read("c-LATEST.gguf");
  run(out + Args{"--adam-iter", "2"});
  ASSERT_NE(folder.read("lora-LATEST.gguf"), lora);
  const RunResult resumed = run(
      out + Args{"--adam-iter", "4", "--checkpoint-in", "c-LATEST.gguf", "--seed", "-1", "--threads", "1"});
  EXPECT_THAT(resumed.err, testing::HasSubstr("resume: c-LATEST.gguf at iteration 2"));
  EXPECT_EQ(folder.read("lora-LATEST.gguf"), lora);
  EXPECT_EQ(folder.read("c-LATEST.gguf"), checkpoint);

  std::filesystem::remove(folder.at("lora-LATEST.gguf"));
  const RunResult finished = run(out + Args{"--adam-iter", "4", "--checkpoint-in", "c-LATEST.gguf"});
  EXPECT_THAT(finished.err, testing::Not(testing::HasSubstr("iter= ")));
  EXPECT_EQ(folder.read("lora-LATEST.gguf"), lora);
}

TEST_F(Finetune, AConfigFileSetsFlagsAndTheCommandLineWins) {
  folder.write(
      "run.toml",
      "model-base = \"model.gguf\"\ntrain-data = \"text.txt\"\nsample-start = \"<s>\"  # as in the text\n"
      "checkpoint-in = \"\"\nctx = 32\nbatch = 2\nseed = 5\nadam-iter = 9\nno-shuffle = true\n"
      "lora-out = \"lora.gguf\"\ncheckpoint-out = \"\"\n");
  const RunResult result = folder.lora({"finetune", "--config", "run.toml", "--adam-iter", "2"});
  EXPECT_EQ(result.status, 0) << result.err;
  const std::string from_config = folder.read("lora.gguf");
  EXPECT_EQ(adapter({"--no-shuffle"}), from_config);
  EXPECT_NE(adapter({}), from_config);
}

TEST_F(Finetune, WindowsLineEndsTrainTheSameAdapter) {
  const Args lines = {"--sample-start", "\\n", "--escape", "--include-sample-start"};
  folder.write("text.txt", ship_sentences("\n"));
  std::string want = adapter(lines);
  folder.write("text.txt", ship_sentences("\r\n"));
  std::string found = adapter(lines);
  // But for the name of the run, which the bytes of the text go into.
  for (std::string* bytes : {&want, &found}) {
    const size_t at = bytes->find("lora_cpp.run");
    ASSERT_NE(at, bytes->npos);
    bytes->erase(at, 12 + 4 + 8 + 16);  // key, type, length, 16 hex digits
  }
  EXPECT_EQ(found, want);
}

TEST_F(Finetune, FilledRowsAreFull) {
  const auto records_with = [&](const Args& flags) {
    run(Args{"--metrics", "m.jsonl", "--ctx", "48", "--precision", "f32"} + flags);
    return metrics();
  };
  EXPECT_LT(records_with({})[0]["tokens"], 2 * 48);
  const auto filled = records_with({"--fill-with-next-samples"});
  EXPECT_EQ(filled[0]["tokens"], 2 * 48);
  EXPECT_EQ(filled[1]["tokens"], 2 * 48);
  // The same tokens, but samples see each other: another loss.
  const auto plain = records_with({"--fill-with-next-samples", "--plain-fill"});
  EXPECT_EQ(plain[0]["tokens"], 2 * 48);
  EXPECT_GT(std::abs(plain[0]["loss"].get<double>() - filled[0]["loss"].get<double>()), 1e-3);
}

// The base command of the guide's appendix on hardware, flag by flag; model and text are ours.
TEST_F(Finetune, TheGuidesBaseCommandRunsAsItStands) {
  folder.write("text.txt", ship_sentences("\n"));
  const RunResult result = folder.lora({"finetune",
                                        "--model-base",
                                        "model.gguf",
                                        "--train-data",
                                        "text.txt",
                                        "--lora-out",
                                        "lora.gguf",
                                        "--save-every",
                                        "0",
                                        "--threads",
                                        "14",
                                        "--ctx",
                                        "256",
                                        "--rope-freq-base",
                                        "10000",
                                        "--rope-freq-scale",
                                        "1.0",
                                        "--batch",
                                        "1",
                                        "--grad-acc",
                                        "1",
                                        "--adam-iter",
                                        "256",
                                        "--adam-alpha",
                                        "0.001",
                                        "--lora-r",
                                        "4",
                                        "--lora-alpha",
                                        "4",
                                        "--use-checkpointing",
                                        "--use-flash",
                                        "--sample-start",
                                        "\\n",
                                        "--escape",
                                        "--include-sample-start",
                                        "--seed",
                                        "1"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("data: 40 samples"));
  EXPECT_THAT(result.err, testing::HasSubstr("iter=   256 "));
  EXPECT_TRUE(folder.has("checkpoint-256.gguf") && folder.has("checkpoint-LATEST.gguf"));
  const Args eval = {"eval", "-m", "model.gguf", "-f", "text.txt", "--json"};
  const double base = parse_json(folder.lora(eval).out)["nll"];
  const double tuned = parse_json(folder.lora(eval + Args{"--lora", "lora.gguf"}).out)["nll"];
  EXPECT_LT(tuned, 0.5 * base);
}

}  // namespace finetune_test
}  // namespace lora::test
