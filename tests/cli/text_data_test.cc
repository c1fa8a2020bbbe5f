// What `lora finetune` makes of texts: marks that are not there, cuts, windows; folders and several files;
// and the same figure from `lora eval --train-data` as from --val-data.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace text_data_test {

using Args = std::vector<std::string>;
using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::Not;

class TextData : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }

  // Without a mark unless `more` has one.
  RunResult run(const Args& more) const {
    Args args = {"finetune",   "-m",
                 "model.gguf", "--train-data",
                 "text.txt",   "--checkpoint-in",
                 "",           "--ctx",
                 "32",         "--batch",
                 "2",          "--seed",
                 "5",          "--checkpoint-out",
                 "",           "--lora-out",
                 "l.gguf",     "--threads",
                 "1"};
    const bool has_length = std::ranges::find(more, "--epochs") != more.end();
    if (!has_length) args.insert(args.end(), {"--adam-iter", "2"});
    return folder.lora(args + more);
  }
  int64_t n_tokens(const std::string& file) const {
    const RunResult run = folder.lora({"tokenize", "-m", "model.gguf", "-f", file, "--json", "--no-bos"});
    return int64_t(parse_json(run.out)["ids"].size());
  }
  ordered_json samples(const Args& flags) const {
    const RunResult run = folder.lora(Args{"tokenize", "-m", "model.gguf", "--json", "-n", "1000"} + flags);
    EXPECT_EQ(run.status, 0) << run.err;
    return parse_json(run.out);
  }
};

TEST_F(TextData, AMarkThatDoesNotOccurIsAnErrorWithItsWaysOut) {
  const RunResult result = run({"--sample-start", "<S>"});
  expect_error(result, 1, "--sample-start: '<S>' does not occur in text.txt, so it is one sample of ");
  for (const char* way : {"give a mark that does", "--window 0 in its place", "--allow-cut if that is meant"})
    EXPECT_THAT(result.err, HasSubstr(way));
  EXPECT_FALSE(folder.has("l.gguf"));
  expect_error(run({"--sample-start", "\\n"}), 1, "(--escape reads \\n as a line's end)");
  const RunResult meant = run({"--sample-start", "<S>", "--allow-cut"});
  EXPECT_EQ(meant.status, 0) << meant.err;
  EXPECT_THAT(meant.err, HasSubstr("warning: --sample-start: '<S>' does not occur in text.txt"));
  EXPECT_THAT(meant.err, Not(HasSubstr("give a mark")));
}

TEST_F(TextData, SoItIsInOneFileOfSeveralAndInHeldOutText) {
  folder.write("other.txt", "There is no mark in this one.");
  folder.write("blank.txt", " \n");
  expect_error(run({"--sample-start", "<s>", "--train-data", "other.txt"}), 1,
               "does not occur in other.txt, so");
  EXPECT_EQ(run({"--sample-start", "<s>", "--train-data", "blank.txt"}).status, 0);  // nothing is lost of it
  expect_error(run({"--sample-start", "<s>", "--val-data", "other.txt"}), 1,
               "does not occur in other.txt, so");
  expect_error(
      folder.lora({"estimate", "-m", "model.gguf", "--train-data", "other.txt", "--sample-start", "<s>"}), 1,
      "does not occur in other.txt");
}

TEST_F(TextData, MoreThanHalfCutOffIsAnErrorThatSaysWhatWouldHold) {
  const Args marks = {"--sample-start", "<s>"};
  const ordered_json whole = samples(marks + Args{"--train-data", "text.txt", "--ctx", "99"});
  size_t longest = 0, total = 0;
  for (const auto& sample : whole["samples"]) {
    longest = std::max(longest, sample["targets"].size());
    total += sample["targets"].size();
  }
  ASSERT_GT(longest, 9u);
  const RunResult result = run(marks + Args{"--ctx", "6"});
  expect_error(result, 1,
               fmt::format("--ctx: {} of the {} tokens in the text of --train-data", total - 40 * 6, total));
  EXPECT_THAT(result.err, HasSubstr(fmt::format("; --ctx {} holds the longest sample; ", longest)));
  EXPECT_THAT(result.err, HasSubstr("--allow-cut goes on without them"));
  const RunResult meant = run(marks + Args{"--ctx", "6", "--allow-cut"});
  EXPECT_EQ(meant.status, 0) << meant.err;
  EXPECT_THAT(meant.err, HasSubstr("warning: --ctx: "));
  const RunResult fits = run(marks + Args{"--ctx", std::to_string(longest)});
  EXPECT_THAT(fits.err, HasSubstr(" 0 cut at "));
  folder.write("val.txt", "<s>" + ship_sentences(" "));
  expect_error(run(marks + Args{"--val-data", "val.txt"}), 1, "in the text of --val-data");
}

// To look at what becomes of a file, nothing is in the way.
TEST_F(TextData, TokenizeShowsAndWarns) {
  const RunResult result =
      folder.lora({"tokenize", "-m", "model.gguf", "--train-data", "text.txt", "--sample-start", "<S>"});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("warning: --sample-start: '<S>' does not occur in text.txt"));
  EXPECT_THAT(result.err, HasSubstr("--allow-cut if that is meant"));
}

TEST_F(TextData, ReadingsOfTheTextAreCounted) {
  folder.write("text.txt", ship_sentences("\n"));
  const int64_t n = n_tokens("text.txt");
  const RunResult result = run({"--batch", "3", "--grad-acc", "2", "--adam-iter", "4"});
  EXPECT_THAT(result.err,
              HasSubstr(fmt::format("data: every token starts a sample: 4 iterations of 6 samples of 32 "
                                    "tokens read the text {:.1f} times",
                                    4.0 * 6 * 32 / double(n))));
  const RunResult epochs = run({"--epochs", "0.02"});
  EXPECT_THAT(epochs.err, HasSubstr(fmt::format("read the text {:.1f} times",
                                                std::ceil(0.02 * double(n) / 2) * 2 * 32 / double(n))));
  EXPECT_THAT(run({"--window", "0"}).err, Not(HasSubstr("every token starts")));
}

TEST_F(TextData, AnEpochOfWindowsIsOneReading) {
  folder.write("text.txt", ship_sentences("\n"));
  const int64_t n = n_tokens("text.txt");
  for (const int64_t window : {0, 20}) {
    const int64_t size = window > 0 ? window : 32, n_windows = (n + size) / size;  // the end has its token
    ASSERT_NE(n % size, 0);
    const RunResult result =
        run({"--window", std::to_string(window), "--batch", "4", "--epochs", "1", "--metrics", "m.jsonl"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr(fmt::format("data: {} samples, {} tokens; 0 cut", n_windows, n + 1)));
    EXPECT_THAT(result.err,
                HasSubstr(fmt::format("data: {} consecutive windows of up to {} tokens, so one epoch reads "
                                      "the text once (--window)",
                                      n_windows, size)));
    const std::vector<std::string> lines = lines_of(folder.read("m.jsonl"));
    EXPECT_EQ(int64_t(lines.size()), (n_windows + 3) / 4);
  }
  int64_t trained = 0;
  const ordered_json shown = samples({"--train-data", "text.txt", "--ctx", "32", "--window", "0"});
  for (const auto& sample : shown["samples"]) trained += int64_t(sample["targets"].size());
  EXPECT_EQ(trained, n + 1);
}

TEST_F(TextData, AWindowIsHeldOutOrTrainedOn) {
  folder.write("text.txt", ship_sentences("\n"));
  const int64_t n_windows = n_tokens("text.txt") / 32 + 1;
  const RunResult result = run({"--window", "0", "--val-split", "0.25"});
  const int64_t held_out = std::llround(0.25 * double(n_windows));
  EXPECT_THAT(result.err, HasSubstr(fmt::format("held out: {} samples of these; {} are trained on\n",
                                                held_out, n_windows - held_out)));
}

TEST_F(TextData, WindowsExcludeWhatSaysWhereSamplesBegin) {
  expect_error(run({"--window", "8", "--sample-start", "<s>"}), 2,
               "--window: not together with --sample-start");
  expect_error(run({"--window", "8", "--overlapping-samples"}), 2,
               "--window: not together with --overlapping");
  expect_error(run({"--window", "33"}), 2, "--window: 33 tokens are more than --ctx 32");
  expect_error(run({"--window", "-1"}), 2, "--window: expected");
  expect_error(folder.lora({"tokenize", "-m", "model.gguf", "--train-data", "text.txt", "--window", "999"}),
               2, "--window: 999 tokens are more than --ctx 128");
  folder.write("a.jsonl", R"({"text":"A ship."})");
  EXPECT_THAT(folder.lora({"tokenize", "-m", "model.gguf", "--train-data", "a.jsonl", "--window", "9"}).err,
              HasSubstr("warning: --window cuts texts; each record is a sample"));
}

TEST_F(TextData, AResumedRunWithAnotherWindowIsAnotherRun) {
  ASSERT_EQ(run({"--window", "16", "--checkpoint-out", "c.gguf"}).status, 0);
  const Args resume = {"--checkpoint-out", "c.gguf", "--checkpoint-in", "c.gguf", "--adam-iter", "3"};
  expect_error(run(resume + Args{"--window", "8"}), 1, "--window differs: 16 in the checkpoint, 8 now");
  expect_error(run(resume), 1, "--window differs: 16 in the checkpoint");
  EXPECT_EQ(run(resume + Args{"--window", "16"}).status, 0);
}

TEST_F(TextData, FoldersAndSeveralFilesAreOneText) {
  std::filesystem::create_directories(folder.at("corpus/more"));
  const char* const names[] = {"corpus/a.txt", "corpus/b.jsonl", "corpus/more/c.txt"};
  folder.write(names[0], "The ship sailed north.");
  folder.write(names[1], "{\"text\": \"The whale swam.\"}\n");
  folder.write(names[2], "There was a king.");
  folder.write("corpus/picture.png", "none");
  folder.write("corpus/.hidden.txt", "none");
  folder.write("c.toml", "train-data = [\"corpus/a.txt\", \"corpus/b.jsonl\", \"corpus/more/c.txt\"]\n");
  folder.write("f.toml", "train-data = \"corpus\"\n");
  const Args window = {"--window", "0"};
  const ordered_json one =
      samples(window + Args{"--train-data", names[0], "--train-data", names[1], "--train-data", names[2]});
  EXPECT_EQ(one["n_samples"], 3);
  EXPECT_EQ(samples(Args{"--train-data", names[0], names[1], names[2]} + window), one);
  EXPECT_EQ(samples(Args{"--train-data", names[0], names[1], "--train-data", names[2]} + window), one);
  EXPECT_EQ(samples(Args{"--train-data", "corpus"} + window), one);
  EXPECT_EQ(samples(Args{"--config", "c.toml"} + window), one);
  EXPECT_EQ(samples(Args{"--config", "f.toml"} + window), one);
}

TEST_F(TextData, TheRunOfAFolderIsThatOfItsFiles) {
  std::filesystem::create_directories(folder.at("corpus"));
  folder.write("corpus/a.txt", ship_sentences("\n"));
  folder.write("corpus/b.txt", ship_sentences(" "));
  const Args base = {"finetune",   "-m",
                     "model.gguf", "--checkpoint-in",
                     "",           "--ctx",
                     "32",         "--batch",
                     "2",          "--seed",
                     "5",          "--window",
                     "0",          "--checkpoint-out",
                     "c.gguf",     "--lora-out",
                     "l.gguf",     "--adam-iter"};
  ASSERT_EQ(folder.lora(base + Args{"2", "--train-data", "corpus/a.txt", "corpus/b.txt"}).status, 0);
  const RunResult resumed =
      folder.lora(base + Args{"3", "--checkpoint-in", "c.gguf", "--train-data", "corpus"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("data: corpus: 2 files in this folder\n"));
  EXPECT_THAT(resumed.err, HasSubstr("resume: c.gguf at iteration 2"));
  const RunResult other = folder.lora(
      base + Args{"4", "--checkpoint-in", "c.gguf", "--train-data", "corpus/b.txt", "corpus/a.txt"});
  expect_error(other, 1, "--train-data is another text");
  const RunResult both =
      folder.lora(base + Args{"1", "--train-data", "corpus", "--val-data", "corpus/b.txt"});
  EXPECT_THAT(both.err, HasSubstr("warning: --val-data: corpus/b.txt is trained on, too"));
  const RunResult twice = folder.lora(base + Args{"1", "--train-data", "corpus", "corpus/b.txt"});
  EXPECT_THAT(twice.err, HasSubstr("warning: named more than once, and read as often: corpus/b.txt"));
  // An output among the files of a folder would be written over one of them.
  expect_error(folder.lora(base + Args{"1", "--train-data", "corpus", "--lora-out", "corpus/a.txt"}), 1,
               "--lora-out: corpus/a.txt is the file of --train-data");
}

TEST_F(TextData, WhatIsNoTextIsRefusedWithTheWayOut) {
  folder.write("a.parquet", "PAR1....PAR1");
  folder.write("a.jsonl", "\x1f\x8b\x08packed");
  std::filesystem::create_directories(folder.at("empty"));
  for (const char* command : {"finetune", "tokenize", "eval"}) {
    const Args base = {command, "-m", "model.gguf", "--train-data"};
    expect_error(folder.lora(base + Args{"a.parquet"}), 1,
                 "a.parquet: not a text: it is a Parquet table; Python makes");
    expect_error(folder.lora(base + Args{"a.jsonl"}), 1,
                 "a.jsonl: not a text: it is a packed file; unpack it");
    expect_error(folder.lora(base + Args{"empty"}), 1,
                 "empty: no .txt, .jsonl, .json, .csv or .tsv file in this folder");
  }
  EXPECT_FALSE(folder.has("checkpoint-LATEST.gguf"));
}

// The figure of `lora eval --train-data FILE` is the one that training reports of --val-data FILE.
class EvalOfSamples : public TextData {
 protected:
  void expect_equal(const std::string& file, const Args& flags) {
    const RunResult trained = run(Args{"--val-data", file, "--metrics", "m.jsonl", "--adam-iter", "6",
                                       "--warmup", "0", "--adam-alpha", "0.01", "--batch", "3"} +
                                  flags);
    ASSERT_EQ(trained.status, 0) << trained.err;
    const ordered_json record = parse_json(lines_of(folder.read("m.jsonl")).back());
    Args eval =
        Args{"eval", "-m", "model.gguf", "--train-data", file, "--ctx", "32", "--batch", "3", "--json"} +
        flags;
    const RunResult base = folder.lora(eval);
    ASSERT_EQ(base.status, 0) << base.err;
    const ordered_json before = parse_json(base.out);
    EXPECT_THAT(trained.err,
                HasSubstr(fmt::format("held out, before training: loss {:.6f}, perplexity {:.4f} over {} "
                                      "tokens",
                                      before["nll"].get<double>(), before["perplexity"].get<double>(),
                                      before["tokens"].get<int64_t>())));
    const RunResult tuned = folder.lora(eval + Args{"--lora", "l.gguf"});
    const ordered_json after = parse_json(tuned.out);
    EXPECT_EQ(fmt::format("{:.9g}", after["nll"].get<double>()),
              fmt::format("{:.9g}", record["val_loss"].get<double>()));
    EXPECT_NE(after["nll"], before["nll"]);
    EXPECT_NEAR(after["perplexity"], std::exp(after["nll"].get<double>()), 1e-6);
    EXPECT_EQ(after["samples"], before["samples"]);
  }
};

TEST_F(EvalOfSamples, EqualsTheHeldOutLossOfMarkedTexts) {
  folder.write("val.txt",
               "<s>The ship number 7 sailed north.<s>The whale was not seen again by any of the men.<s>"
               "A ship.<s>Six miles north.");
  expect_equal("val.txt", {"--sample-start", "<s>"});
  expect_equal("val.txt", {"--sample-start", "<s>", "--no-separate-with-eos"});
  expect_equal("val.txt", {"--sample-start", "<s>", "--ctx", "9", "--allow-cut"});
  for (const char* precision : {"f32", "int8"}) {  // which some kernel sets refuse
    const Args flags = {"--sample-start", "<s>", "--precision", precision};
    const RunResult run = folder.lora(Args{"eval", "-m", "model.gguf", "--train-data", "val.txt"} + flags);
    if (run.err.find("have no products in 8-bit integers") == std::string::npos)
      expect_equal("val.txt", flags);
  }
  expect_error(folder.lora({"eval", "-m", "model.gguf", "-f", "val.txt", "--precision", "int8"}), 2,
               "--precision int8: only with --train-data");
}

TEST_F(EvalOfSamples, EqualsTheHeldOutLossOfWindows) {
  folder.write("val.txt", ship_sentences("\n").substr(0, 700));
  expect_equal("val.txt", {});
  expect_equal("val.txt", {"--window", "20"});
}

TEST_F(EvalOfSamples, EqualsTheHeldOutLossOfRecordsWithTheirMasks) {
  folder.write("val.jsonl",
               "{\"prompt\": \"Where did the ship go?\", \"completion\": \" It sailed 9 miles north.\"}\n"
               "{\"messages\": [{\"role\": \"user\", \"content\": \"A ship?\"}, {\"role\": \"assistant\", "
               "\"content\": \"North.\"}]}\n");
  folder.write("text.txt", ship_sentences(""));
  expect_equal("val.jsonl", {"--chat-template", "vicuna"});
  expect_equal("val.jsonl", {"--chat-template", "vicuna", "--train-on", "all"});
}

TEST_F(EvalOfSamples, EqualsItOfTextsAndRecordsTogether) {
  std::filesystem::create_directories(folder.at("val"));
  folder.write("val/a.txt", ship_sentences("\n").substr(0, 400));
  folder.write("val/b.jsonl",
               "{\"text\": \"The ship sailed north.\"}\n{\"text\": \"The ship sailed south.\"}\n");
  folder.write("val/c.txt", "There was a king, and the king had a ship.");
  expect_equal("val", {});
  const RunResult run = folder.lora({"eval", "-m", "model.gguf", "--train-data", "val", "--ctx", "32"});
  const int64_t n_windows = (n_tokens("val/a.txt") + 31) / 32;
  EXPECT_THAT(run.out, contains_regex(fmt::format("\nsamples +{}\n", n_windows + 2 + 1)));
}

TEST_F(EvalOfSamples, FlagsOfSamplesAreForSamples) {
  expect_error(folder.lora({"eval", "-m", "model.gguf", "-p", "a ship", "--sample-start", "<s>"}), 2,
               "--sample-start: only with --train-data");
  expect_error(folder.lora({"eval", "-m", "model.gguf", "-p", "a ship", "--train-data", "text.txt"}), 2,
               "--train-data: not together with");
  expect_error(folder.lora({"eval", "-m", "model.gguf", "--train-data", "text.txt", "--sample-start", "<S>"}),
               1, "does not occur in text.txt");
  const RunResult note = folder.lora({"eval", "-m", "model.gguf", "--train-data", "text.txt",
                                      "--sample-start", "<s>", "--fill-with-next-samples"});
  EXPECT_THAT(note.err, HasSubstr("note: --fill-with-next-samples changes nothing"));
}

}  // namespace text_data_test
}  // namespace lora::test
