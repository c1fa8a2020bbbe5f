// The learning rate's schedule: linear warmup, cosine decay, restarts, floor.
//
//   iter < warmup:  sched = iter / warmup
//   else t = iter - warmup:
//     with restarts, while t > steps: t -= steps, steps = floor(steps x restart)   (at least 1)
//     sched = min + (1 - min) / 2 x (1 + cos(pi t / steps)),  t capped at steps
//   floor: sched' = f + sched x (1 - f),  f = adam_min_alpha / adam_alpha
#pragma once

#include <cstdint>

#include "train/options.h"

namespace lora {

// The share of adam_alpha that iteration `iter` (from 1) is trained with.
double schedule(int64_t iter, const FinetuneOptions& options);

}  // namespace lora
