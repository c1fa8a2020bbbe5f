// What the flags of a training run do, and what is said about a run before and after it.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <regex>

#include "base/regex_test_util.h"
#include "cli_test.h"
#include "tiny_models.h"
#include "train/estimate.h"

namespace lora::test {
namespace training_test {

using Args = std::vector<std::string>;
using nlohmann::ordered_json;
using testing::HasSubstr;

class Training : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }

  RunResult run(const Args& flags) const {
    const RunResult result = folder.lora(kFinetune + Args{"--checkpoint-out", "", "--lora-out", ""} + flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  }
  std::vector<ordered_json> metrics(const Args& flags) const {
    run(flags + Args{"--metrics", "m.jsonl"});
    std::vector<ordered_json> records;
    for (const std::string& line : lines_of(folder.read("m.jsonl"))) records.push_back(parse_json(line));
    return records;
  }
  // The first iteration with a loss below the limit; 0: none.
  static int iterations_until(const std::vector<ordered_json>& records, double limit) {
    for (const ordered_json& r : records) {
      if (r["loss"] < limit) return r["iter"];
    }
    return 0;
  }
  // The number behind the name in what `lora estimate` prints.
  static double figure(const std::string& out, const std::string& name) {
    std::smatch match;
    if (!std::regex_search(out, match, std::regex("\n  " + name + " +([0-9.]+) "))) return -1;
    return std::stod(match[1]);
  }
};

// SPEC's schedule with restarts: 2 of warmup, then cosines of 4, floor(4 x 1.5) = 6, 9 ... iterations.
TEST_F(Training, TheScheduleInMetricsIsTheFormulasWithRestarts) {
  const auto records = metrics({"--adam-iter", "24", "--warmup", "2", "--cos-decay-steps", "4",
                                "--cos-decay-min", "0.2", "--enable-restart", "--cos-decay-restart", "1.5",
                                "--adam-alpha", "0.002", "--adam-min-alpha", "0.0001"});
  ASSERT_EQ(records.size(), 24u);
  const double floor = 0.0001 / 0.002;
  for (int iter = 1; iter <= 24; ++iter) {
    double sched = iter / 2.0;
    if (iter >= 2) {
      int t = iter - 2, steps = 4;
      while (t > steps) {
        t -= steps;
        steps = steps * 3 / 2;
      }
      sched = 0.2 + 0.8 / 2 * (1 + std::cos(std::numbers::pi * t / steps));
    }
    const double want = floor + sched * (1 - floor);
    EXPECT_NEAR(records[size_t(iter) - 1]["sched"].get<double>(), want, 1e-8) << iter;
    EXPECT_NEAR(records[size_t(iter) - 1]["lr"].get<double>(), 0.002 * want, 1e-11) << iter;
  }
}

// Eight sentences, all of them in every iteration; both optimizers as they come.
TEST_F(Training, LbfgsNeedsFewerIterationsThanAdam) {
  const std::string text = ship_sentences();
  size_t end = 0;
  for (int i = 0; i < 8; ++i) end = text.find("<s>", end + 1);
  folder.write("text.txt", text.substr(0, end));
  const Args all = {"--batch", "8", "--no-shuffle", "--precision", "f32"};
  constexpr double kLoss = 0.5;
  const RunResult said = run(all + Args{"--use-lbfgs", "--lbfgs-iter", "1"});
  EXPECT_THAT(said.err, HasSubstr("the schedule, clipping and decay of Adam do not apply"));
  const int lbfgs = iterations_until(metrics(all + Args{"--use-lbfgs", "--lbfgs-iter", "55"}), kLoss);
  const int adam = iterations_until(metrics(all + Args{"--adam-iter", "100"}), kLoss);
  std::printf("loss below %.1f: Adam %d iterations, L-BFGS %d\n", kLoss, adam, lbfgs);
  EXPECT_GT(adam, 0);
  EXPECT_GT(lbfgs, 0);
  EXPECT_LT(lbfgs, adam);
}

TEST_F(Training, ARunThatConvergesSaysWhichTestFired) {
  const Args flags = {"--checkpoint-out",         "c.gguf", "--adam-iter", "40", "--adam-alpha", "0",
                      "--opt-max-no-improvement", "3",      "--batch",     "40", "--no-shuffle"};
  const RunResult first = run(flags);
  EXPECT_THAT(first.err,
              HasSubstr("ended at iteration 4: --opt-max-no-improvement: 3 iterations without a loss below"));
  const RunResult again = run(flags + Args{"--checkpoint-in", "c.gguf"});
  EXPECT_THAT(again.err, HasSubstr("ended at iteration 4: --opt-max-no-improvement"));
  EXPECT_THAT(run(flags + Args{"--checkpoint-in", "c.gguf", "--opt-max-no-improvement", "5"}).err,
              HasSubstr("ended at iteration 6: "));
}

TEST_F(Training, HeldOutLossIsThatOfEvalAndTheBestAdapterIsKept) {
  const std::string sentence = "The ship number 77 sailed 231 miles north.";
  folder.write("val.txt", "<s>" + sentence);
  const auto records =
      metrics({"--val-data", "val.txt", "--eval-every", "5", "--adam-iter", "22", "--adam-alpha", "0.01",
               "--warmup", "3", "--lora-out", "lora-ITERATION.gguf", "--save-best", "--save-every", "1",
               "--no-separate-with-eos", "--precision", "f32"});
  ASSERT_EQ(records.size(), 22u);
  int best = 0;
  double best_loss = 1e9;
  for (const ordered_json& r : records) {
    const int iter = r["iter"];
    EXPECT_EQ(r.contains("val_loss"), iter % 5 == 0 || iter == 22) << iter;
    if (r.contains("val_loss") && r["val_loss"] < best_loss) {
      best = iter;
      best_loss = r["val_loss"];
    }
  }
  EXPECT_EQ(folder.read("lora-BEST.gguf"), folder.read(fmt::format("lora-{}.gguf", best)));
  const RunResult eval = folder.lora({"eval", "-m", "model.gguf", "-p", sentence, "--precision", "f32",
                                      "--json", "--lora", "lora-BEST.gguf"});
  EXPECT_NEAR(parse_json(eval.out)["nll"].get<double>(), best_loss, 1e-5);
}

TEST_F(Training, ASplitHoldsSamplesOut) {
  const RunResult result =
      run({"--val-split", "0.25", "--adam-iter", "6", "--batch", "5", "--metrics", "m.jsonl"});
  EXPECT_THAT(result.err, HasSubstr("held out: 10 samples of these; 30 are trained on"));
  EXPECT_THAT(result.err, HasSubstr("held out, before training: loss "));
  // Six iterations of five are one pass over thirty.
  EXPECT_EQ(parse_json(lines_of(folder.read("m.jsonl")).back())["epoch"], 1);
  const RunResult windows = run({"--val-split", "0.25", "--sample-start", ""});
  EXPECT_THAT(windows.err, contains_regex("held out: [0-9]+ samples of these; [0-9]+ are trained on"));
}

TEST_F(Training, OptionsThatContradictEachOtherAreErrors) {
  for (const auto& [flags, what] :
       {std::pair{Args{"--save-best"}, "--save-best: needs --val-data or --val-split"},
        {{"--eval-every", "5"}, "--eval-every: needs --val-data or --val-split"},
        {{"--val-split", "0.1", "--val-data", "text.txt"}, "--val-split: not together"},
        {{"--only-write-lora"}, "--only-write-lora: needs a checkpoint"},
        {{"--lora-out", "x", "--checkpoint-out", "x"}, "--checkpoint-out: x is the file of --lora-out"},
        {{"--adam-min-alpha", "0.1"}, "--adam-min-alpha: "}}) {
    expect_error(folder.lora(kFinetune + flags), 2, what);
  }
  expect_error(folder.lora(kFinetune + Args{"--rank-att-norm", "1", "--lora-r", "1", "--rank-wq", "0",
                                            "--rank-wk", "0", "--rank-wv", "0", "--rank-wo", "0", "--rank-w1",
                                            "0", "--rank-w2", "0", "--rank-w3", "0"}),
               1, "--lora-out: only norms are trained");
  expect_error(folder.lora(kFinetune + Args{"--lbfgs-iter", "3", "--epochs", "1"}), 2,
               "--epochs: not together with");
}

TEST_F(Training, FlagsWithoutEffectAreSaid) {
  const RunResult result = run({"--adam-iter", "1", "--lbfgs-iter", "3", "--opt-delta", "-1", "--adam-decay",
                                "-1", "--adam-epsf", "-1", "--opt-max-no-improvement", "-1"});
  EXPECT_THAT(result.err, HasSubstr("warning: --lbfgs-iter has no effect: only with --use-lbfgs"));
  EXPECT_THAT(result.err, HasSubstr("warning: --opt-delta has no effect: only with --opt-past"));
}

TEST_F(Training, AFinishedRunSaysThatNothingWasTrained) {
  metrics({"--adam-iter", "3", "--checkpoint-out", "c.gguf"});
  const std::string lines = folder.read("m.jsonl");
  folder.write("m.jsonl", lines + "{\"iter\":4}\n");
  const Args again = {"--adam-iter", "3", "--checkpoint-in", "c.gguf", "--metrics", "m.jsonl"};
  EXPECT_THAT(run(again).err, HasSubstr("iteration 3 of 3 was reached already, so nothing was trained"));
  EXPECT_EQ(folder.read("m.jsonl"), lines);
  const Args write = {"--only-write-lora", "--checkpoint-in", "c.gguf", "--lora-out", "l.gguf"};
  EXPECT_EQ(folder.lora(kFinetune + write).status, 0);
  expect_error(folder.lora(kFinetune + write + Args{"--lora-r", "6"}), 1,
               "--rank-wq differs: 4 in the checkpoint");
  expect_error(folder.lora(kFinetune + write + Args{"--lora-alpha", "7"}), 1, "--lora-alpha differs: 4 in");
}

TEST_F(Training, HeldOutTextIsReportedAsTheTrainingText) {
  folder.write("held.txt", ship_sentences(""));
  const RunResult result =
      run({"--adam-iter", "1", "--sample-start", "<s>", "--val-data", "held.txt", "--allow-cut"});
  EXPECT_THAT(result.err, HasSubstr("warning: held out: --sample-start: '<s>' does not occur in held.txt"));
}

TEST_F(Training, RanksAreCalledAsTheyWereTyped) {
  const auto refused = [&](const Args& more, const char* what) {
    expect_error(folder.lora(kFinetune + more), 1, what);
  };
  refused({"--rank", "attn_q=2,ffn_dwn=2"}, "--rank ffn_dwn: model.gguf has no such tensor");
  run({"--adam-iter", "1", "--lora-r", "0", "--rank", "attn_q=2", "--rank-wk", "3", "--checkpoint-out",
       "c.gguf", "--lora-out", "l.gguf"});
  const Gguf trained = Gguf::open(folder.at("l.gguf"));
  for (const GgufTensor& t : trained.tensors())
    EXPECT_THAT(t.name, testing::AnyOf(HasSubstr(".attn_q."), HasSubstr(".attn_k."))) << "--lora-r 0";
  EXPECT_EQ(trained.tensor("blk.0.attn_q.weight.lora_a").ne[1], 2);
  refused({"--checkpoint-in", "c.gguf", "--lora-r", "0", "--rank", "attn_q=4", "--rank-wk", "3"},
          "c.gguf: --rank attn_q differs: 2 in the checkpoint, 4 now");
  refused({"--checkpoint-in", "c.gguf", "--lora-r", "0", "--rank", "attn_q=2", "--rank-wk", "4"},
          "c.gguf: --rank-wk differs: 3 in the checkpoint, 4 now");
  refused({"--only-write-lora", "--checkpoint-in", "c.gguf", "--rank", "attn_q=4"},
          "c.gguf: --rank attn_q differs: 2 in the checkpoint, 4 was asked for");
  refused({"--lora-init", "l.gguf", "--rank", "attn_q=5"},
          "--rank attn_q: 5 was asked for, l.gguf has rank 2");
  refused({"--lora-init", "l.gguf", "--rank-wq", "5"}, "--rank-wq: 5 was asked for, l.gguf has rank 2");
}

TEST_F(Training, AnEmbeddingThatCannotBeMergedIsSaidBefore) {
  const Gguf vocabulary = Gguf::open(kBundledModel);
  const TinyModel gemma(*find_architecture("gemma2"), folder.at("gemma.gguf"), {.vocabulary = &vocabulary});
  const RunResult result = run({"-m", "gemma.gguf", "--adam-iter", "1", "--lora-r", "0", "--rank",
                                "token_embd=2", "--lora-out", "l.gguf"});
  EXPECT_THAT(result.err,
              HasSubstr("warning: --rank token_embd: nor can lora export-lora merge this part: gemma2"));
  expect_error(
      folder.lora({"export-lora", "--model-base", "gemma.gguf", "--lora", "l.gguf", "-o", "merged.gguf"}), 1,
      "an adapter on it cannot be merged");
}

TEST_F(Training, NormsStayInTheCheckpointAndItIsSaid) {
  const Args flags = {"--rank-att-norm", "1", "--rank-out-norm", "2",      "--rank-tok-embd",  "2",
                      "--rank-out",      "2", "--lora-out",      "l.gguf", "--checkpoint-out", "c.gguf"};
  const RunResult result = run(flags);
  EXPECT_THAT(result.err, HasSubstr("warning: --rank-att-norm: kept in checkpoints only"));
  EXPECT_THAT(result.err, HasSubstr("so more than rank 1 gains nothing"));
  EXPECT_THAT(result.err, Not(HasSubstr("--rank-tok-embd: llama.cpp"))) << "this model's output is its own";
  const auto tensors = [&](const char* file) {
    std::set<std::string> names;
    const Gguf gguf = Gguf::open(folder.at(file));
    for (const GgufTensor& tensor : gguf.tensors()) names.insert(tensor.name);
    return names;
  };
  EXPECT_TRUE(tensors("c.gguf").contains("output_norm.weight.lora_a"));
  EXPECT_FALSE(tensors("l.gguf").contains("output_norm.weight.lora_a"));
  EXPECT_TRUE(tensors("l.gguf").contains("token_embd.weight.lora_a"));
  EXPECT_TRUE(tensors("l.gguf").contains("output.weight.lora_b"));
  // Resumed, they go on as if nothing had been.
  const std::string two = folder.read("c.gguf");
  run(flags + Args{"--adam-iter", "1"});
  run(flags + Args{"--checkpoint-in", "c.gguf"});
  EXPECT_EQ(folder.read("c.gguf"), two);
}

TEST_F(Training, RsLoraIsWhatEvalFinds) {
  const std::string sentence = "The ship number 7 sailed 21 miles north.";
  folder.write("text.txt", "<s>" + sentence);
  const auto records = metrics({"--rslora", "--lora-r", "9", "--batch", "1", "--adam-iter", "8",
                                "--adam-alpha", "0.003", "--warmup", "0", "--no-separate-with-eos",
                                "--precision", "f32", "--lora-out", "l-ITERATION.gguf", "--save-every", "1"});
  const RunResult eval = folder.lora(
      {"eval", "-m", "model.gguf", "-p", sentence, "--precision", "f32", "--json", "--lora", "l-7.gguf"});
  // The loss of iteration 8 is that of the adapter after seven.
  EXPECT_NEAR(parse_json(eval.out)["nll"].get<double>(), records[7]["loss"].get<double>(), 1e-5);
  EXPECT_LT(records[7]["loss"].get<double>(), 0.9 * records[0]["loss"].get<double>());
}

TEST_F(Training, OnlyWriteLoraWritesTheCheckpointsAdapter) {
  run({"--lora-out", "a.gguf", "--checkpoint-out", "c.gguf", "--rslora", "--rope-freq-base", "20000"});
  const RunResult result = folder.lora({"finetune", "-m", "model.gguf", "--only-write-lora",
                                        "--checkpoint-in", "c.gguf", "--lora-out", "b.gguf"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("--only-write-lora: c.gguf was read, nothing was trained"));
  EXPECT_EQ(folder.read("b.gguf"), folder.read("a.gguf"));
}

TEST_F(Training, ForceReshuffleBeginsAnotherOrder) {
  const Args flags = {"--checkpoint-out", "c-ITERATION.gguf",
                      "--save-every",     "5",
                      "--adam-iter",      "20",
                      "--lora-out",       "l.gguf"};
  run(flags);
  const std::string lora = folder.read("l.gguf");
  const RunResult result = run(flags + Args{"--checkpoint-in", "c-5.gguf", "--force-reshuffle"});
  EXPECT_THAT(result.err, HasSubstr("resume: c-5.gguf at iteration 5, samples shuffled anew"));
  const std::string reshuffled = folder.read("l.gguf");
  EXPECT_NE(reshuffled, lora);
  // A checkpoint of that run keeps the order it is in.
  run(flags + Args{"--checkpoint-in", "c-10.gguf"});
  EXPECT_EQ(folder.read("l.gguf"), reshuffled);
}

TEST_F(Training, NoFlashIsAcceptedAndSaysThatNothingChanges) {
  run({"--lora-out", "a.gguf"});
  EXPECT_THAT(run({"--lora-out", "b.gguf", "--no-flash"}).err, HasSubstr("note: --no-flash changes nothing"));
  EXPECT_EQ(folder.read("a.gguf"), folder.read("b.gguf"));
}

// The numbers are of flags that would fit: with them, the same budget is enough.
TEST_F(Training, TooLittleMemoryNamesFlagsThatFit) {
  folder.write("text.txt", "<s>" + ship_sentences("") + "<s>" + ship_sentences(""));
  const auto with = [](int mib) {
    return Args{"--ctx", "256", "--batch", "8", "--allow-cut", "--memory", std::to_string(mib) + "MiB"};
  };
  std::smatch match;
  const RunResult tiny = folder.lora(kFinetune + with(4));
  ASSERT_TRUE(
      std::regex_search(tiny.err, match, std::regex(R"(there, ([\d.]+) MiB are needed at the least)")));
  const Args flags =
      with(int(std::stod(match[1])) - 8);  // the program's own size differs from build to build
  const RunResult refused = folder.lora(kFinetune + flags);
  expect_error(refused, 1, "MiB are there, ");
  ASSERT_TRUE(std::regex_search(
      refused.err, match, std::regex(R"(these would fit: --batch (\d+) \([\d.]+ MiB\) or --ctx (\d+) \()")))
      << refused.err;
  EXPECT_EQ(folder.lora(kFinetune + flags + Args{"--batch", match[1]}).status, 0);
  EXPECT_EQ(folder.lora(kFinetune + flags + Args{"--ctx", match[2]}).status, 0);
  const int more = std::stoi(match[1]) + 2;  // of one more, the margin alone may be missing
  EXPECT_EQ(folder.lora(kFinetune + flags + Args{"--batch", std::to_string(more)}).status, 1);
}

// Time is not asked for here but in wide bounds: other programs may run beside the tests.
TEST_F(Training, EstimateIsWhatTheRunTakes) {
  folder.write("text.txt", ship_sentences("") + ship_sentences(""));
  const Args flags = {"--sample-start", "", "--ctx", "256", "--batch", "4", "--adam-iter", "12"};
  const RunResult estimate =
      folder.lora(Args{"estimate"} + Args(kFinetune.begin() + 1, kFinetune.end()) + flags);
  ASSERT_EQ(estimate.status, 0) << estimate.err;
  EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "text.txt"}));
  const auto records = metrics(flags);
  const double bytes = (figure(estimate.out, "in all, beyond the model's file") +
                        figure(estimate.out, "the model's file, mapped")) *
                       (1 << 20);
  if (!LORA_INSTRUMENTED) {  // whose own memory may be larger than all of this
    EXPECT_NEAR(bytes / records.back()["rss_bytes"].get<double>(), 1, 0.05);
  }
  double seconds = 0;
  for (const ordered_json& r : records) seconds += r["dt_s"].get<double>() / double(records.size());
  const double ratio = figure(estimate.out, "an iteration") / seconds;
  EXPECT_GT(ratio, 0.2);
  EXPECT_LT(ratio, 5);
}

// Layers are told apart by what they compute, and by whether the backward pass goes through them.
TEST_F(Training, EstimateTellsKindsOfLayersApart) {
  const auto kinds = [&](const char* family, int64_t n_below) {
    const TinyModel written(*find_architecture(family), folder.at("kinds.gguf"));
    return kinds_of_layers(load_model(folder.at("kinds.gguf")), n_below);
  };
  using testing::ElementsAre;
  EXPECT_THAT(kinds("llama", 0), ElementsAre(0, 0, 0, 0, 0));
  EXPECT_THAT(kinds("llama", 3), ElementsAre(0, 0, 0, 1, 1));
  EXPECT_THAT(kinds("lfm2", 0), ElementsAre(0, 1, 0, 1, 0));
  EXPECT_THAT(kinds("lfm2", 2), ElementsAre(0, 1, 2, 3, 2));
  EXPECT_THAT(kinds("granitehybrid", 0), ElementsAre(0, 1, 0, 1, 0));
  EXPECT_THAT(kinds("gemma2", 0), ElementsAre(0, 1, 0, 1, 0));
}

// Layers of several kinds are each looked at: one of a kind, wherever it stands.
TEST_F(Training, EstimateOfLayersThatDiffer) {
  const Gguf vocabulary = Gguf::open(kBundledModel);
  folder.write("text.txt", ship_sentences("") + ship_sentences(""));
  for (const char* family : {"lfm2", "granitehybrid", "nemotron_h", "gemma4"}) {
    const TinyModel written(*find_architecture(family), folder.at("model.gguf"), {.vocabulary = &vocabulary});
    const Args flags = {"--sample-start", "", "--ctx", "128", "--batch", "4", "--adam-iter", "6"};
    const RunResult estimate =
        folder.lora(Args{"estimate"} + Args(kFinetune.begin() + 1, kFinetune.end()) + flags);
    ASSERT_EQ(estimate.status, 0) << estimate.err;
    const auto records = metrics(flags);
    double seconds = 0;
    for (const ordered_json& r : records) seconds += r["dt_s"].get<double>() / double(records.size());
    const double ratio = figure(estimate.out, "an iteration") / seconds;
    EXPECT_GT(ratio, 0.2) << family;
    EXPECT_LT(ratio, 5) << family;
  }
}

TEST_F(Training, EstimateTakesNoMoreMemoryThanTheRun) {
  folder.write("text.txt", ship_sentences("") + ship_sentences(""));
  const RunResult estimate =
      folder.lora(Args{"estimate"} + Args(kFinetune.begin() + 1, kFinetune.end()) +
                  Args{"--sample-start", "", "--ctx", "512", "--batch", "8", "--use-checkpointing"});
  ASSERT_EQ(estimate.status, 0) << estimate.err;
  const double mib = figure(estimate.out, "in all, beyond the model's file") +
                     figure(estimate.out, "the model's file, mapped");
  if (!LORA_INSTRUMENTED && estimate.err.find("to measure takes") == estimate.err.npos) {
    EXPECT_LT(double(estimate.peak_bytes), 1.05 * mib * (1 << 20));
  }
  EXPECT_LE(figure(estimate.out, "of these still to come"),
            figure(estimate.out, "in all, beyond the model's file"));
}

TEST_F(Training, EstimateTellsTheDiskThatTheRunTakes) {
  for (const Args& flags : {Args{}, Args{"--keep", "2"}, Args{"--use-lbfgs"}, Args{"--lora-out", "l.gguf"}}) {
    const Args all = Args{"--adam-iter",      "9",
                          "--lbfgs-iter",     "9",
                          "--save-every",     "2",
                          "--val-split",      "0.3",
                          "--checkpoint-out", "c/c-ITERATION.gguf",
                          "--lora-out",       "c/l-ITERATION.gguf",
                          "--save-best"} +
                     flags;
    std::filesystem::create_directories(folder.at("c"));
    const RunResult estimate =
        folder.lora(Args{"estimate"} + Args(kFinetune.begin() + 1, kFinetune.end()) + all + Args{"--json"});
    ASSERT_EQ(estimate.status, 0) << estimate.err;
    const ordered_json json = parse_json(estimate.out);
    EXPECT_GT(json["free_disk_bytes"], 0);
    EXPECT_GT(json["total_s"], 0);
    std::filesystem::remove(folder.at("l.gguf"));
    run(all);
    std::map<std::string, std::pair<int64_t, uint64_t>> found;
    uint64_t sum = 0;
    for (const std::string& directory : {folder.at("c"), folder.path}) {
      for (const auto& file : std::filesystem::directory_iterator(directory)) {
        const std::string name = file.path().filename().string();
        const bool is_adapter = name[0] == 'l', is_output = is_adapter || name.starts_with("c-");
        if (!is_output || !name.ends_with(".gguf")) continue;
        auto& [n, bytes] = found[is_adapter ? "adapters" : "checkpoints"];
        ++n, bytes += file.file_size(), sum += file.file_size();
      }
    }
    for (const auto& [kind, files] : found) {
      EXPECT_EQ(json["disk"][kind]["n"], files.first) << kind << testing::PrintToString(flags);
      const double ratio =
          json["disk"][kind]["bytes"].get<double>() * double(files.first) / double(files.second);
      EXPECT_GT(ratio, 0.9) << kind << testing::PrintToString(flags);
      // L-BFGS is counted with the pairs that it has in the end.
      EXPECT_LT(ratio, flags == Args{"--use-lbfgs"} ? 10 : 1.1) << kind << testing::PrintToString(flags);
    }
    EXPECT_GT(json["disk_bytes"].get<double>(), 0.9 * double(sum));
    std::filesystem::remove_all(folder.at("c"));
  }
}

TEST_F(Training, LayersSaveMemoryAndSayWhat) {
  folder.write("text.txt", ship_sentences("") + ship_sentences(""));
  const auto estimate = [&](const Args& more) {
    const RunResult result =
        folder.lora(Args{"estimate"} + Args(kFinetune.begin() + 1, kFinetune.end()) +
                    Args{"--sample-start", "", "--ctx", "256", "--batch", "4", "--no-checkpointing"} + more);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  };
  const RunResult all = estimate({}), one = estimate({"--layers", "1"}), ends = estimate({"--layers", "0,5"});
  EXPECT_THAT(all.err, testing::Not(HasSubstr("lora: adapters on")));
  EXPECT_THAT(one.err, HasSubstr("lora: adapters on block 5 of 0-5: the backward pass ends at block 5: of 5 "
                                 "blocks below, 83% of all, nothing is kept or computed again\n"));
  EXPECT_THAT(ends.err, HasSubstr("blocks 0,5 of 0-5: the backward pass goes through all of them\n"));
  EXPECT_LT(figure(one.out, "layers' inputs"), 0.5 * figure(all.out, "layers' inputs"));
  EXPECT_LT(figure(one.out, "activations \\(1 of 1 layers kept\\)"),
            0.25 * figure(all.out, "activations \\(6 of 6 layers kept\\)"));
  EXPECT_GT(figure(one.out, "an iteration"), 0);
}

// Samples in the form that the guide's appendix on training shows.
std::string alpaca_samples() {
  std::string text;
  for (int i = 0; i < 12; ++i) {
    text += fmt::format(
        "<s>Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n"
        "### Instruction:\nEva is a sailor of {} years. She likes maps.\n\nEva: \"Where do we go?\"\nTom: "
        "\"North.\"\n\n"
        "### Response:\nEva: *She opens chart {}.* \"Then I know the way.\"\n",
        20 + i, i);
  }
  return text;
}

TEST_F(Training, TheGuidesTrainingExampleRunsAsItStands) {
  folder.write("training-data.txt", alpaca_samples());
  std::filesystem::rename(folder.at("model.gguf"), folder.at("stheno-l2-13b.Q5_K_M.gguf"));
  const RunResult result =
      folder.lora({"finetune", "--model-base", "stheno-l2-13b.Q5_K_M.gguf", "--train-data",
                   "training-data.txt", "--sample-start", "<s>", "--adam-iter", "3"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("data: 12 samples"));
  EXPECT_TRUE(folder.has("ggml-lora-LATEST-f32.gguf") && folder.has("checkpoint-3.gguf"));
}

TEST_F(Training, TheGuidesLimaRpSettingsRunAsTheyStand) {
  folder.write("training-data.txt", alpaca_samples());
  const RunResult result = folder.lora({"finetune",
                                        "--model-base",
                                        "model.gguf",
                                        "--train-data",
                                        "training-data.txt",
                                        "--sample-start",
                                        "<s>",
                                        "--ctx",
                                        "8192",
                                        "--batch",
                                        "1",
                                        "--grad-acc",
                                        "1",
                                        "--lora-alpha",
                                        "16",
                                        "--lora-r",
                                        "16",
                                        "--adam-iter",
                                        "3",
                                        "--adam-alpha",
                                        "0.000065"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err,
              HasSubstr("warning: --ctx 8192 is beyond the 512 tokens the model was trained with"));
  EXPECT_EQ(Gguf::open(folder.at("ggml-lora-3-f32.gguf")).get_float("adapter.lora.alpha"), 16);
}

}  // namespace training_test
}  // namespace lora::test
