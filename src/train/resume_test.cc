// Runs that are stopped, killed and gone on with.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/error.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "train/run_test_util.h"

namespace lora {
namespace resume_test {

using namespace test;

TEST_F(Finetune, AResumedRunEndsWithTheSameBytes) {
  FinetuneOptions o = options();
  o.metrics = at("metrics.jsonl");
  run(o);
  const std::string lora = read(at("lora-LATEST.gguf")), checkpoint = read(at("checkpoint-LATEST.gguf"));
  const std::vector<IterationRecord> again = [&] {
    FinetuneOptions resumed = o;
    resumed.checkpoint_in = at("checkpoint-3.gguf");
    resumed.seed = -1;
    resumed.threads = 2;
    return run(resumed);
  }();
  EXPECT_EQ(again.size(), 3u);
  EXPECT_EQ(again.front().iter, 4);
  EXPECT_EQ(read(at("lora-LATEST.gguf")), lora);
  EXPECT_EQ(read(at("checkpoint-LATEST.gguf")), checkpoint);
  std::ifstream metrics(at("metrics.jsonl"));
  int lines = 0;
  for (std::string line; std::getline(metrics, line);) ++lines;
  EXPECT_EQ(lines, 6);
  // A finished run trains nothing and writes its adapter again.
  std::filesystem::remove(at("lora-LATEST.gguf"));
  FinetuneOptions finished = o;
  finished.checkpoint_in = at("checkpoint-LATEST.gguf");
  EXPECT_TRUE(run(finished).empty());
  EXPECT_EQ(read(at("lora-LATEST.gguf")), lora);
}

// Gradients are rounded by random numbers that are the same after a resume, for other threads and where
// activations are computed again.
TEST_F(Finetune, AResumedRunInIntegersEndsWithTheSameBytes) {
  if (!has_int8_gemm()) GTEST_SKIP() << "no products in 8-bit integers";
  FinetuneOptions o = options();
  run(o);
  const std::string f32 = read(at("lora-LATEST.gguf"));
  o.precision = Precision::int8;
  o.checkpointing = Checkpointing::off;
  run(o);
  const std::string lora = read(at("lora-LATEST.gguf")), checkpoint = read(at("checkpoint-LATEST.gguf"));
  EXPECT_NE(lora, f32);
  o.checkpoint_in = at("checkpoint-3.gguf");
  o.seed = -1;
  o.threads = 2;
  o.checkpointing = Checkpointing::on;
  EXPECT_EQ(run(o).size(), 3u);
  EXPECT_EQ(read(at("lora-LATEST.gguf")), lora);
  EXPECT_EQ(read(at("checkpoint-LATEST.gguf")), checkpoint);
}

TEST_F(Finetune, ACheckpointThatDoesNotFitIsRefusedByTheSettingsName) {
  run(options());
  const auto why = [&](auto change) -> std::string {
    FinetuneOptions o = options();
    o.checkpoint_in = at("checkpoint-LATEST.gguf");
    change(o);
    try {
      run(o);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(why([](auto& o) { o.n_batch = 3; }),
              testing::HasSubstr("--batch differs: 2 in the checkpoint, 3 now"));
  EXPECT_THAT(why([](auto& o) { o.ranks["attn_k"] = 7; }), testing::HasSubstr("--rank-wk differs: 4"));
  EXPECT_THAT(why([](auto& o) { o.lora_alpha = 9; }), testing::HasSubstr("--lora-alpha differs"));
  EXPECT_THAT(why([](auto& o) { o.seed = 6; }), testing::HasSubstr("--seed differs"));
  EXPECT_THAT(why([&](auto& o) { o.train_data = {LORA_SOURCE_DIR "/LICENSE"}; }),
              testing::HasSubstr("data differs"));
  EXPECT_THAT(why([&](auto& o) {
                o.checkpoint_in = at("lora-LATEST.gguf");
                o.lora_out = "";
              }),
              testing::HasSubstr("not a checkpoint"));
  EXPECT_EQ(why([](auto& o) {
              o.adam_alpha = 1e-4;
              o.adam_iter = 8;
              o.threads = 2;
            }),
            "accepted");
}

TEST_F(Finetune, ResumingCutsTheMetricsAtTheCheckpointsIteration) {
  FinetuneOptions o = options();
  run(o);  // iterations 1 to 6, without metrics
  o.metrics = at("metrics.jsonl");
  o.checkpoint_in = at("checkpoint-3.gguf");
  run(o);  // 4 to 6
  run(o);  // again
  std::ifstream metrics(at("metrics.jsonl"));
  std::vector<std::string> starts;
  for (std::string line; std::getline(metrics, line);) starts.push_back(line.substr(0, 9));
  EXPECT_EQ(starts, (std::vector<std::string>{R"({"iter":4)", R"({"iter":5)", R"({"iter":6)"}));
}

// A run that is killed after it has made up for an evaluation makes up for it once more.
TEST_F(Finetune, ALateEvaluationIsInItsLineOnce) {
  std::string lines[3];
  for (int64_t i = 0; i < 3; ++i) {
    IterationRecord record;
    record.iter = i + 1;
    lines[i] = to_json(record);
  }
  std::ofstream(at("m.jsonl"), std::ios::binary) << lines[0] << "\n" << lines[1] << "\n" << lines[2] << "\n";
  lines[1].insert(lines[1].size() - 1, R"(,"val_loss":1.5)");
  for (int i = 0; i < 2; ++i) {
    open_metrics_with(at("m.jsonl"), 2, 1.5).write_line("{}");
    EXPECT_EQ(read(at("m.jsonl")), lines[0] + "\n" + lines[1] + "\n{}\n");
  }
}

TEST_F(Finetune, KeepRemovesThisRunsOlderFilesAlone) {
  FinetuneOptions o = options();
  o.save_every = 1;
  o.val_split = 0.2;
  o.save_best = true;
  FinetuneOptions other = o;  // another run's files of the same names, one of them renamed as an old one
  other.seed = 6;
  other.adam_iter = 1;
  other.val_split = 0;
  other.save_best = false;
  run(other);
  for (const std::string kind : {"lora", "checkpoint"}) {
    std::filesystem::rename(at(kind + "-1.gguf"), at(kind + "-0.gguf"));
    std::ofstream(at(kind + "-007.gguf")) << "mine";
  }
  o.keep = 2;
  const auto numbers = [&] {
    std::string found;
    for (const std::string kind : {"lora", "checkpoint"}) {
      for (int i = 0; i <= 8; ++i) {
        if (file_exists(at(fmt::format("{}-{}.gguf", kind, i)))) found += fmt::format("{}{} ", kind[0], i);
      }
      EXPECT_TRUE(file_exists(at(kind + "-LATEST.gguf")));
      EXPECT_EQ(read(at(kind + "-007.gguf")), "mine");
    }
    EXPECT_TRUE(file_exists(at("lora-BEST.gguf")));
    return found;
  };
  run(o);
  EXPECT_EQ(numbers(), "l0 l5 l6 c0 c5 c6 ");
  // The one that is named stays, and so do those that are further on.
  o.checkpoint_in = at("checkpoint-5.gguf");
  o.adam_iter = 8;
  run(o);
  EXPECT_EQ(numbers(), "l0 l7 l8 c0 c5 c7 c8 ");
  o.checkpoint_in = at("checkpoint-7.gguf");
  o.keep = 1;
  FinetuneEvents stop;
  int done = 0;
  stop.on_iteration = [&](const IterationRecord&, int64_t) { ++done; };
  stop.should_stop = [&] { return done == 0; };
  finetune(o, stop);
  EXPECT_EQ(numbers(), "l0 l7 l8 c0 c7 c8 ");
  o.keep = 0;
  o.adam_iter = 10;
  o.checkpoint_in = at("checkpoint-LATEST.gguf");
  run(o);
  EXPECT_TRUE(file_exists(at("lora-8.gguf")) && file_exists(at("lora-9.gguf")));
}

TEST_F(Finetune, TheFileOfTheBestAdapterIsNoOtherOutputAndNotWrittenOver) {
  const auto why = [&](const FinetuneOptions& o) -> std::string {
    try {
      run(o);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  FinetuneOptions o = options();
  o.checkpoint_in.reset();
  o.val_split = 0.2;
  o.save_best = true;
  o.best_out = at("lora-4.gguf");
  EXPECT_THAT(why(o), testing::HasSubstr("can be " + o.best_out + ", the file of --best-out"));
  o.best_out = at("best.gguf");
  o.lora_out = o.checkpoint_out = "";
  std::ofstream(o.best_out) << "mine";
  EXPECT_THAT(why(o), testing::HasSubstr("best.gguf: is there already"));
  EXPECT_EQ(read(o.best_out), "mine");
  std::filesystem::remove(o.best_out);
  EXPECT_EQ(why(o), "accepted");
  EXPECT_GT(read(o.best_out).size(), 100u);
}

TEST_F(Finetune, WhatAnotherPromptWasContinuedWithIsForgotten) {
  FinetuneOptions o = options();
  o.val_split = 0.2;
  o.eval_every = 2;
  o.sample_prompt = "a";
  o.adam_iter = 4;
  const std::string before = finetune(o, {}).evaluations.sample_before;
  o.checkpoint_in = at("checkpoint-LATEST.gguf");
  EXPECT_EQ(finetune(o, {}).evaluations.sample_before, before);
  EXPECT_NE(before, "");
  o.sample_prompt = "b";
  o.adam_iter = 5;
  EXPECT_EQ(finetune(o, {}).evaluations.sample_before, "");
}

// The resumed run begins with what a kill after the checkpoint has kept its save from.
TEST_F(Finetune, AdaptersThatASaveDidNotReachAreWrittenOnResume) {
  FinetuneOptions o = options();
  o.adam_iter = 4;
  o.save_every = 2;
  finetune(o, {});
  const std::string numbered = at("lora-2.gguf"), latest = at("lora-LATEST.gguf");
  const std::string expected = read(numbered);
  std::filesystem::remove(numbered);
  std::filesystem::remove(
      at("checkpoint-LATEST.gguf"));  // GCC's library does not copy over a file on Windows
  std::filesystem::copy_file(at("checkpoint-2.gguf"), at("checkpoint-LATEST.gguf"));
  o.checkpoint_in = at("checkpoint-LATEST.gguf");
  std::string after_start;
  FinetuneEvents events;
  events.on_iteration = [&](const IterationRecord& record, int64_t) {
    if (record.iter == 3) after_start = read(latest);
  };
  finetune(o, events);
  EXPECT_EQ(read(numbered), expected);
  EXPECT_EQ(after_start, expected);
}

TEST_F(Finetune, StoppingSavesWhatWasDone) {
  FinetuneOptions o = options();
  int done = 0;
  FinetuneEvents events;
  events.on_iteration = [&](const IterationRecord&, int64_t) { ++done; };
  events.should_stop = [&] { return done == 2; };
  const FinetuneResult result = finetune(o, events);
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.iterations, 2);
  EXPECT_TRUE(file_exists(at("checkpoint-2.gguf")));
  EXPECT_EQ(result.lora_path, at("lora-LATEST.gguf"));
}

// Asked at every layer of iterations, line searches and evaluations in turn, so each is dropped at some
// place.
TEST_F(Finetune, StoppedAnywhereItEndsWithTheSameBytes) {
  for (const Optimizer optimizer : {Optimizer::adam, Optimizer::lbfgs}) {
    FinetuneOptions o = options();
    o.optimizer = optimizer;
    o.adam_iter = o.lbfgs_iter = 4;
    o.save_every = 0;
    o.val_split = 0.1;
    o.eval_every = 2;
    o.patience = 2;
    o.save_best = true;
    o.metrics = at("metrics.jsonl");
    std::filesystem::remove(at("lora-BEST.gguf"));
    int n_asked = 0;
    FinetuneEvents count;
    count.should_stop = [&] { return ++n_asked < 0; };
    finetune(o, count);
    const auto outputs = [&] {
      return std::vector{read(at("lora-LATEST.gguf")), read(at("lora-BEST.gguf")),
                         read(at("checkpoint-LATEST.gguf")), val_losses(at("metrics.jsonl"))};
    };
    const auto want = outputs();
    ASSERT_GT(want[1].size(), 10000u);
    std::map<int64_t, int> stops;  // by iterations done
    for (int at_call = 1; at_call <= n_asked; at_call += 7) {
      for (const char* name : {"lora-LATEST.gguf", "lora-BEST.gguf", "checkpoint-LATEST.gguf"})
        std::filesystem::remove(at(name));
      int n = 0;
      FinetuneEvents stop;
      stop.should_stop = [&] { return ++n >= at_call; };
      const FinetuneResult stopped = finetune(o, stop);
      ASSERT_TRUE(stopped.stopped || stopped.iterations == 4) << at_call;
      EXPECT_LE(n, at_call + 2) << "it went on";
      ++stops[stopped.iterations];
      FinetuneOptions resumed = o;
      resumed.checkpoint_in = at("checkpoint-LATEST.gguf");
      run(resumed);
      ASSERT_TRUE(outputs() == want) << "stopped when asked the " << at_call << "th time";
    }
    EXPECT_EQ(stops.size(), 5u);
  }
}

// By a file in the place of the one that the run has begun to write to.
TEST_F(Finetune, AnEvaluationThatIsDueCompletesItsLineOfTheMetrics) {
  FinetuneOptions o = options();
  o.adam_iter = 4;
  o.val_split = 0.1;
  o.eval_every = 2;
  o.metrics = at("metrics.jsonl");
  run(o);
  const std::string want = val_losses(o.metrics);
  int n_evaluations = 0;
  FinetuneEvents stop;
  stop.on_evaluation = [&](int64_t n_done, int64_t) { n_evaluations += n_done == 0; };
  stop.should_stop = [&] { return n_evaluations == 2; };  // the first is of the model before training
  EXPECT_EQ(finetune(o, stop).iterations, 2);
  EXPECT_NE(val_losses(o.metrics), want);
  o.checkpoint_in = at("checkpoint-LATEST.gguf");
  run(o);
  EXPECT_EQ(val_losses(o.metrics), want);
}

TEST_F(Finetune, AnEvaluationThatIsDueIsForgottenWithoutHeldOutData) {
  FinetuneOptions o = options();
  o.val_data = {at("text.txt")};
  FinetuneEvents stop;
  stop.should_stop = [] { return true; };
  EXPECT_TRUE(finetune(o, stop).stopped);
  o.val_data.clear();
  o.checkpoint_in = at("checkpoint-LATEST.gguf");
  FinetuneResult result;
  EXPECT_EQ(run(o, &result).size(), 6u);
  EXPECT_FALSE(result.stopped);
}

}  // namespace resume_test
}  // namespace lora
