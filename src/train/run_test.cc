// The pieces of a run, and whole runs of the bundled model on small texts.
#include "train/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/error.h"
#include "base/machine.h"
#include "train/finetune.h"
#include "train/metrics.h"
#include "train/outputs.h"

namespace lora {
namespace {

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Iterations and held-out losses of a metrics file.
std::string val_losses(const std::string& path) {
  std::ifstream in(path);
  std::string all;
  for (std::string line; std::getline(in, line);) {
    const size_t at = line.find("\"val_loss\"");
    all += line.substr(0, line.find(',')) + (at == line.npos ? "" : line.substr(at)) + "\n";
  }
  return all;
}

class Finetune : public testing::Test {
 protected:
  std::string folder = testing::TempDir() + "lora_run_" + std::to_string(getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  void SetUp() override {
    std::filesystem::create_directories(folder);
    std::ofstream text(at("text.txt"));
    for (int i = 0; i < 40; ++i)
      text << "<s>The ship number " << i << " sailed " << 3 * i << " miles to the north.";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::string at(const std::string& name) const { return folder + "/" + name; }

  FinetuneOptions options() const {
    FinetuneOptions o;
    o.model_base = LORA_SOURCE_DIR "/models/tiny-q8_0.gguf";
    o.train_data = {at("text.txt")};
    o.sample_start = "<s>";
    o.checkpoint_in = "";
    o.checkpoint_out = at("checkpoint-ITERATION.gguf");
    o.lora_out = at("lora-ITERATION.gguf");
    o.n_ctx = 32;
    o.n_batch = 2;
    o.adam_iter = 6;
    o.warmup = 2;
    o.save_every = 3;
    o.seed = 5;
    o.threads = 1;
    o.precision = Precision::f32;
    return o;
  }
};

std::vector<IterationRecord> run(const FinetuneOptions& options, FinetuneResult* result = nullptr) {
  std::vector<IterationRecord> records;
  FinetuneEvents events;
  events.on_iteration = [&](const IterationRecord& r, int64_t) { records.push_back(r); };
  const FinetuneResult r = finetune(options, events);
  if (result) *result = r;
  return records;
}

TEST_F(Finetune, BitsDependOnTheSeedAndNotOnThreadsMemoryOrCheckpointing) {
  FinetuneOptions o = options();
  run(o);
  const std::string want = read(at("lora-LATEST.gguf"));
  ASSERT_GT(want.size(), 10000u);
  const auto with = [&](auto change) {
    FinetuneOptions changed = options();
    change(changed);
    run(changed);
    return read(at("lora-LATEST.gguf"));
  };
  EXPECT_EQ(with([](auto& c) { c.threads = 2; }), want);
  EXPECT_EQ(with([](auto& c) {
              c.threads = 5;
              c.checkpointing = Checkpointing::on;
            }),
            want);
  EXPECT_EQ(with([](auto& c) { c.checkpointing = Checkpointing::off; }), want);
  EXPECT_EQ(with([](auto& c) { c.memory = resident_bytes() + (uint64_t{32} << 20); }), want);
  EXPECT_NE(with([](auto& c) { c.seed = 6; }), want);
}

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
  EXPECT_THAT(why([](auto& o) { o.ranks.wk = 7; }), testing::HasSubstr("--rank-wk differs: 4"));
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

TEST_F(Finetune, TheFirstLossIsTheBaseModelsAndTrainingLowersIt) {
  FinetuneOptions o = options();
  o.adam_alpha = 0.005;
  o.adam_iter = 40;
  const auto records = run(o);
  FinetuneOptions still = o;
  still.adam_alpha = 0;
  const auto base = run(still);
  EXPECT_EQ(records.front().loss, base.front().loss);
  EXPECT_LT(records.back().loss, 0.5 * records.front().loss);
  EXPECT_EQ(records.front().sched, 0.5);
  EXPECT_EQ(records.front().lr, 0.0025);
}

TEST_F(Finetune, GradientAccumulationEqualsABatchToRounding) {
  const auto losses = [&](int64_t batch, int64_t acc) {
    FinetuneOptions o = options();
    o.n_batch = batch;
    o.grad_acc = acc;
    o.adam_iter = 4;
    return run(o);
  };
  const auto all = losses(4, 1);
  for (const auto& [batch, acc] : {std::pair{2, 2}, std::pair{1, 4}}) {
    const auto parts = losses(batch, acc);
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(parts[i].tokens, all[i].tokens);
      EXPECT_NEAR(parts[i].loss / all[i].loss, 1, 1e-5) << i;
      EXPECT_NEAR(parts[i].grad_norm / all[i].grad_norm, 1, 1e-4) << i;
    }
  }
}

TEST_F(Finetune, DropoutDependsOnTheSeedAloneAndLeavesEvaluationAlone) {
  const auto adapter = [&](uint64_t seed, int threads, Checkpointing checkpointing, double dropout) {
    FinetuneOptions o = options();
    o.seed = int64_t(seed);
    o.threads = threads;
    o.checkpointing = checkpointing;
    o.lora_dropout = dropout;
    o.adam_iter = 3;
    run(o);
    return read(at("lora-3.gguf"));
  };
  const auto one = adapter(1, 1, Checkpointing::off, 0.1);
  EXPECT_EQ(one, adapter(1, 3, Checkpointing::on, 0.1));
  EXPECT_NE(one, adapter(1, 1, Checkpointing::off, 0));
  // Resumed, the masks go on.
  FinetuneOptions o = options();
  o.seed = 1;
  o.lora_dropout = 0.1;
  o.adam_iter = 2;
  run(o);
  o.checkpoint_in = at("checkpoint-2.gguf");
  o.adam_iter = 3;
  run(o);
  EXPECT_EQ(one, read(at("lora-3.gguf")));
}

TEST_F(Finetune, LoraInitStartsFromAnAdapterAndItsRanks) {
  FinetuneOptions o = options();
  o.lora_r = 3;
  o.lora_alpha = 6;
  const auto first = run(o);
  FinetuneOptions next = options();
  next.lora_init = at("lora-6.gguf");
  next.lora_out = at("next-ITERATION.gguf");
  const auto second = run(next);
  EXPECT_LT(second.front().loss, first.front().loss);
  next.lora_r = 4;
  EXPECT_THROW(run(next), Error);
  next.lora_r = 3;
  next.ranks.w2 = 8;
  EXPECT_THROW(run(next), Error);
  next.ranks.w2 = 3;
  EXPECT_NO_THROW(run(next));
  next.ranks.tok_embd = 2;  // the adapter has none there
  EXPECT_THROW(run(next), Error);
  next.ranks.tok_embd = 0;
  next.lora_alpha = 7;
  EXPECT_THROW(run(next), Error);
}

TEST_F(Finetune, LoraInitKeepsTheRotarySettingsItWasTrainedWith) {
  FinetuneOptions o = options();
  o.rope_freq_base = 500000;
  o.rope_freq_scale = 1;  // the model's own: not written
  o.adam_iter = 2;
  run(o);
  const Gguf base = Gguf::open(o.model_base);
  EXPECT_EQ(read_adapter(at("lora-LATEST.gguf"), base).rope_freq_base, 500000.0f);
  EXPECT_FALSE(read_adapter(at("lora-LATEST.gguf"), base).rope_freq_scale);
  FinetuneOptions next = options();
  next.lora_init = at("lora-2.gguf");
  next.lora_out = at("next-ITERATION.gguf");
  run(next);
  EXPECT_EQ(read_adapter(at("next-LATEST.gguf"), base).rope_freq_base, 500000.0f);
}

TEST_F(Finetune, AnAdapterThatIsNoLongerFiniteIsNotSaved) {
  FinetuneOptions o = options();
  o.adam_alpha = 1e38;
  o.adam_iter = 3;
  EXPECT_THROW(run(o), Error);
  EXPECT_FALSE(file_exists(at("lora-LATEST.gguf")));
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
  std::ofstream(at("m.jsonl")) << lines[0] << "\n" << lines[1] << "\n" << lines[2] << "\n";
  lines[1].insert(lines[1].size() - 1, R"(,"val_loss":1.5)");
  for (int i = 0; i < 2; ++i) {
    open_metrics_with(at("m.jsonl"), 2, 1.5).write_line("{}");
    EXPECT_EQ(read(at("m.jsonl")), lines[0] + "\n" + lines[1] + "\n{}\n");
  }
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
  std::filesystem::copy_file(at("checkpoint-2.gguf"), at("checkpoint-LATEST.gguf"),
                             std::filesystem::copy_options::overwrite_existing);
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

TEST_F(Finetune, RanksOfZeroLeaveTensorsAlone) {
  FinetuneOptions o = options();
  o.lora_r = 2;
  o.ranks.wq = 0;
  o.ranks.w2 = 5;
  o.adam_iter = 1;
  run(o);
  const Gguf gguf = Gguf::open(at("lora-LATEST.gguf"));
  EXPECT_EQ(gguf.find_tensor("blk.0.attn_q.weight.lora_a"), nullptr);
  EXPECT_EQ(gguf.tensor("blk.0.ffn_down.weight.lora_a").ne[1], 5);
  EXPECT_EQ(gguf.tensor("blk.0.ffn_up.weight.lora_b").ne[0], 2);
  o.lora_r = 0;
  o.ranks.w2 = 0;
  EXPECT_THROW(run(o), Error);
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

TEST_F(Finetune, TooLittleMemoryIsAnErrorThatSaysTheNeed) {
  FinetuneOptions o = options();
  o.memory = uint64_t{4} << 20;
  try {
    run(o);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("needed at the least"));
  }
}

TEST(RunPieces, PatternsAndIterationCounts) {
  EXPECT_EQ(fill_pattern("a-ITERATION-ITERATION.gguf", "ITERATION", "12"), "a-12-12.gguf");
  EXPECT_EQ(fill_pattern("plain.gguf", "ITERATION", "12"), "plain.gguf");
  EXPECT_EQ(fill_pattern("x", "", "12"), "x");
  FinetuneOptions o;
  o.n_batch = 4;
  o.grad_acc = 2;
  o.epochs = 2.5;
  EXPECT_EQ(iteration_count(o, 33), 11);  // ceil(2.5 x 33 / 8)
  o.epochs.reset();
  EXPECT_EQ(iteration_count(o, 33), 256);
  o.adam_min_alpha = 0.01;
  EXPECT_THROW(check_options(o), Error);
}

TEST(InitialParameters, AreRefusedByTheirSizeBeforeTheyAreAllocated) {
  const Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  FinetuneOptions o;
  o.lora_r = 16;
  const auto parameters = uint64_t(initial_parameters(o, model, 1, std::nullopt).memory_bytes());
  EXPECT_EQ(uint64_t(parameter_bytes(model, ranks_by_target(o))), parameters);
  const auto needed = uint64_t(trained_bytes(o, int64_t(parameters)));
  o.memory = needed;
  EXPECT_NO_THROW(initial_parameters(o, model, 1, std::nullopt));
  o.memory = needed - 1;
  EXPECT_THROW(initial_parameters(o, model, 1, std::nullopt), Error);
}

}  // namespace
}  // namespace lora
