#include "measure/training.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/random.h"
#include "base/timing.h"
#include "kernels/bandwidth.h"
#include "kernels/gemm/peak.h"
#include "kernels/optimizer/adamw.h"
#include "train/run.h"

namespace lora {
namespace {

// Rows of n_ctx random tokens, each its own segment; every token has a target.
struct RandomBatch {
  RandomBatch(int64_t n_batch, int64_t n_ctx, int64_t n_vocab) {
    for (int64_t t = 0; t < n_batch * n_ctx; ++t) {
      const auto token = [&](uint64_t stream) {
        return int32_t(random_bits(1, Purpose::bench, stream, uint64_t(t)) % uint64_t(n_vocab));
      };
      ids.push_back(token(1));
      targets.push_back(token(2));
      positions.push_back(int32_t(t % n_ctx));
    }
    for (int64_t i = 0; i < n_batch; ++i) segments.push_back({i * n_ctx, n_ctx, i * n_ctx, n_ctx});
  }
  StepTokens tokens() const { return {ids, targets, positions, segments}; }

  std::vector<int32_t> ids, targets, positions;
  std::vector<AttentionSegment> segments;
};

double n_weights(const Linear& linear) {
  return double(linear.w.n_rows * linear.w.n_cols);
}

// That one token meets.
double n_weights(const Branch& branch, std::optional<LinearRole> of = {}) {
  double n = 0;
  for_each_share(branch, [&](const Linear& linear, LinearRole role, double share) {
    if (!of || role == *of) n += share * n_weights(linear);
  });
  return n;
}

// Multiply-adds with the frozen weights per token, times two: forward; again for what was not kept, all but
// the last layer and without the last product of each; back, without the input of the lowest layer that is
// trained, which nothing needs, and nothing of the layers below it.
double executed_flop_per_token(const Model& model, const StepPlan& plan) {
  double n = 2 * n_weights(model.output);
  const int64_t n_layer = model.config.n_layer;
  for (int64_t i = 0; i < n_layer; ++i) {
    const std::vector<Branch>& branches = model.layers[size_t(i)].branches;
    double all = 0;
    for (const Branch& branch : branches) all += n_weights(branch);
    n += all;
    if (i < plan.n_below) continue;
    n += all;
    if (i == plan.n_below) n -= n_weights(branches.front(), LinearRole::reads_input);
    if (i < plan.n_below + plan.n_kept || i == n_layer - 1) continue;
    n += all - (branches.back().after ? 0 : n_weights(branches.back(), LinearRole::writes_output));
  }
  return 2 * n;
}

// What a loop takes beyond its tasks, of which each thread has one: to be seen by the threads, and to end.
double loop_overhead_seconds(ThreadPool& pool) {
  constexpr double kTask = 20e-6;
  std::vector<double> times;
  for (int i = 0; i < 2001; ++i) {
    times.push_back(seconds([&] {
      pool.run_together([](int64_t, int) {
        for (const Clock::time_point start = Clock::now(); seconds_since(start) < kTask;) {
        }
      });
    }));
  }
  return median(times) - kTask;
}

}  // namespace

TrainingSpeed measure_training(BenchModel& bench, const BenchOptions& options,
                               const std::function<void(int64_t, double)>& on_step) {
  const FinetuneOptions& o = options.training;
  Model& model = bench.model();
  TrainingSpeed result;
  result.program_bytes = bench.bytes_beyond();
  LoraParameters parameters = initial_parameters(o, model, 1, std::nullopt);
  const Attached attached(model, parameters);

  result.lora_bytes = parameters.memory_bytes();
  result.plan = make_plan(o, model, o.n_ctx, {result.program_bytes, result.lora_bytes}, bench.arithmetic,
                          bench.pool.size());
  result.n_tokens = o.n_batch * o.n_ctx;
  result.useful_flop = 4.0 * bench.active().n_weights * double(result.n_tokens);
  result.executed_flop = executed_flop_per_token(model, result.plan) * double(result.n_tokens);

  const RandomBatch batch(o.n_batch, o.n_ctx, model.config.n_vocab);
  Step step(model, result.plan, bench.arithmetic, bench.pool);
  std::vector<double> losses(size_t(result.n_tokens));
  AdamWStep adamw{.lr = o.adam_alpha, .decay = o.adam_decay};
  const auto run = [&](Profile* profile) {
    const ProfileScope whole(profile, Part::elementwise);
    std::fill_n(parameters.gradients.data(), parameters.gradients.size(), 0.0f);
    step.set_profile(profile);
    step.losses_and_gradients(losses.data(), batch.tokens(), 1.0f / float(result.n_tokens),
                              uint64_t(adamw.t));
    const ProfileScope part(profile, Part::optimizer);
    const double norm =
        std::sqrt(sum_of_squares(parameters.gradients.data(), parameters.gradients.size(), bench.pool));
    if (!std::isfinite(norm)) fail("step {}: the gradient is not finite", adamw.t);
    adamw.gradient_scale = float(1 / std::max(1.0, norm));
    adamw_update(parameters.values.data(), parameters.m.data(), parameters.v.data(),
                 parameters.gradients.data(), parameters.values.size(), adamw, bench.pool);
    ++adamw.t;
  };

  run(nullptr);  // maps the weights' pages and touches the buffers
  result.loss = std::accumulate(losses.begin(), losses.end(), 0.0) / double(result.n_tokens);
  result.peak_flops = gemm_peak(bench.arithmetic.floats, bench.pool);
  std::vector<double> times;
  for (int64_t i = 0; i < options.iterations; ++i) {
    times.push_back(seconds([&] { run(nullptr); }));
    if (on_step) on_step(i + 1, times.back());
  }
  result.peak_flops = std::max(result.peak_flops, gemm_peak(bench.arithmetic.floats, bench.pool));
  result.step_s = median(times);
  result.late_step_s = late_mean(times);
  result.min_step_s = *std::ranges::min_element(times);
  result.bytes_beyond_model = bench.peak_bytes_beyond();
  if (options.profile) {
    Profile& profile = result.profile.emplace();
    {
      const LoopCount count(bench.pool, result.loops);
      result.profiled_step_s = seconds([&] { run(&profile); });
    }
    result.loop_overhead_s = loop_overhead_seconds(bench.pool);
    result.decode_s = decode_seconds(bench.weights(), bench.pool);
  }
  return result;
}

}  // namespace lora
