// The learning rate's schedule: linear warmup, decay, restarts, floor.
//
//   iter < warmup:  sched = iter / warmup
//   else t = iter - warmup:
//     with restarts, while t > steps: t -= steps, steps = floor(steps x restart)   (at least 1)
//     cosine:    sched = min + (1 - min) / 2 x (1 + cos(pi t / steps)),  t capped at steps
//     linear:    sched = 1 - (1 - min) t / steps,  t capped at steps
//     constant:  sched = 1
//   floor: sched' = f + sched x (1 - f),  f = adam_min_alpha / adam_alpha
#pragma once

#include <cstdint>
#include <string_view>

#include "train/options.h"

namespace lora {

std::string_view name(Schedule schedule);

// Iterations of warmup and of the decay behind it.
struct ScheduleSteps {
  int64_t warmup = 0, decay = 1;
};

// Of a run of n_iter iterations. By itself the warmup is a twentieth of them, at least 1, and the decay ends
// with the run. A share that is not 0 is at least 1 iteration.
ScheduleSteps schedule_steps(const FinetuneOptions& options, int64_t n_iter);

// The share of adam_alpha that iteration `iter` (from 1) of n_iter is trained with.
double schedule(int64_t iter, int64_t n_iter, const FinetuneOptions& options);

}  // namespace lora
