// Speed and memory of training: whole optimizer steps on full rows of random tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/parallel.h"
#include "base/profile.h"
#include "measure/bench_model.h"
#include "model/step.h"

namespace lora {

struct TrainingSpeed {
  int64_t n_tokens = 0;               // of a step
  double step_s = 0, min_step_s = 0;  // median and shortest
  double late_step_s = 0;             // mean of the later half
  double loss = 0;                    // of the first step, in nats
  // A step's operations. Useful: 4 N T, the forward pass and the input's gradient of N weights for T tokens.
  // Executed: what of it is really done, and what is computed again. Attention and adapters not counted.
  double useful_flop = 0, executed_flop = 0;
  double peak_flops = 0;  // gemm_peak() just before and after, the higher one
  StepPlan plan;
  int64_t program_bytes = 0;       // of the program, and what of the model lies in f32 beside its file
  int64_t lora_bytes = 0;          // values, gradients, moments
  int64_t bytes_beyond_model = 0;  // measured
  double decode_s = 0;             // decoding all weights once, measured alone
  double profiled_step_s = 0;
  std::optional<Profile> profile;  // of one more step
  Loops loops;                     // of that step
  double loop_overhead_s = 0;      // of each, to begin and to end

  double tok_per_s() const { return double(n_tokens) / step_s; }
  double flops() const { return useful_flop / step_s; }
  double share_of_peak() const { return flops() / peak_flops; }
  int64_t planned_bytes() const { return program_bytes + lora_bytes + plan.total_bytes(); }
};

// Attaches a fresh adapter to the model. on_step(number, seconds) is told of each measured step. Error if
// the plan does not fit the memory, as in finetune().
TrainingSpeed measure_training(BenchModel& bench, const BenchOptions& options,
                               const std::function<void(int64_t, double)>& on_step);

}  // namespace lora
