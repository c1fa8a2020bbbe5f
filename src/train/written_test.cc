// What is written is read again, whatever the numbers are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/process.h"
#include "train/checkpoint.h"
#include "train/metrics.h"

namespace lora {
namespace written_test {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

struct TemporaryFile {
  std::string path = testing::TempDir() + "lora_written_" + std::to_string(process_id());
  ~TemporaryFile() { std::filesystem::remove(path); }
};

// As read back after being written with moments that hold whatever f32 holds.
Checkpoint round_trip(const TrainState& state, const Settings& settings) {
  const TemporaryFile file;
  const Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  LoraParameters p = make_parameters(model, Ranks{{"attn_q", 1}}, 4, 1);
  const float extremes[] = {
      std::numeric_limits<float>::max(), -0.0f, 1e-45f, float(kInf), float(kNan), -1e-38f};
  for (int64_t i = 0; i < p.v.size(); ++i) p.v[i] = extremes[i % 6], p.m[i] = -extremes[i % 6];
  write_checkpoint(file.path, state, settings, Optimizer::adam, p, {}, model);
  Checkpoint c = read_checkpoint(file.path);
  EXPECT_EQ(std::memcmp(c.parameters.v.data(), p.v.data(), size_t(p.v.size()) * 4), 0);
  EXPECT_EQ(std::memcmp(c.parameters.m.data(), p.m.data(), size_t(p.m.size()) * 4), 0);
  EXPECT_EQ(read_checkpoint_head(file.path).iteration, state.iteration);
  EXPECT_EQ(read_checkpoint_head(file.path).settings, settings);
  return c;
}

TEST(Written, ACheckpointIsReadBackWithAnyNumbers) {
  TrainState state;
  state.iteration = 7;
  state.cursor = uint64_t{1} << 61;
  state.seed = state.shuffle_seed = ~uint64_t{0};
  state.convergence.losses = {1e308, -0.0, 5e-324, kInf, kNan};
  state.convergence.best = 1e308;
  state.evaluations = {1.5, 5e-324, -0.0, 4, 7, 3, "prompt", "once\nupon", "a time"};
  state.evaluation_due = true;
  const Settings settings = {{"--sample-start", "\n\x01<s>\xff\""}, {"--escape", ""}};
  const Checkpoint c = round_trip(state, settings);
  EXPECT_EQ(c.state.seed, state.seed);
  EXPECT_EQ(c.state.convergence.losses.size(), 5u);
  EXPECT_EQ(c.state.convergence.best, 1e308);
  const Evaluations& e = c.state.evaluations;
  EXPECT_EQ(e.before, 1.5);
  EXPECT_EQ(e.best, 5e-324);
  EXPECT_EQ(e.last, -0.0);
  EXPECT_EQ(e.best_iteration, 4);
  EXPECT_EQ(e.last_iteration, 7);
  EXPECT_EQ(e.n_no_better, 3);
  EXPECT_EQ(e.sample_prompt, "prompt");
  EXPECT_EQ(e.sample_before, "once\nupon");
  EXPECT_EQ(e.sample_best, "a time");
  EXPECT_TRUE(c.state.evaluation_due);
  EXPECT_EQ(c.settings, settings);
}

TEST(Written, ABestLossThatIsNoNumberIsNone) {
  for (const double best : {kNan, kInf, -kInf}) {
    TrainState state;
    state.evaluations.best = best;  // as the first versions wrote it
    EXPECT_FALSE(round_trip(state, {}).state.evaluations.best);
  }
}

TEST(Written, ALineOfMetricsIsJsonWithAnyNumbers) {
  IterationRecord r;
  r.iter = 3;
  r.loss = 1e308, r.grad_norm = 5e-324, r.lr = -0.0;
  r.epoch = r.sched = r.dt_s = kNan;
  r.tok_per_s = kInf, r.eta_s = -kInf;
  r.val_loss = kNan;
  EXPECT_EQ(
      to_json(r),
      R"({"iter":3,"epoch":null,"sample":0,"loss":1e+308,"lr":-0,"sched":null,"grad_norm":4.94065646e-324,)"
      R"("tokens":0,"dt_s":null,"tok_per_s":null,"eta_s":null,"rss_bytes":0,"val_loss":null})");
}

}  // namespace written_test
}  // namespace lora
