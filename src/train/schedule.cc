#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lora {
namespace {

double cosine_decay(int64_t t, const FinetuneOptions& options) {
  int64_t steps = std::max<int64_t>(options.cos_decay_steps, 1);
  while (options.restart && t > steps) {
    t -= steps;
    steps = int64_t(std::clamp(std::floor(double(steps) * options.cos_decay_restart), 1.0, 0x1p53));
  }
  const double turn = double(std::min(t, steps)) / double(steps);
  return options.cos_decay_min + (1 - options.cos_decay_min) / 2 * (1 + std::cos(std::numbers::pi * turn));
}

}  // namespace

double schedule(int64_t iter, const FinetuneOptions& options) {
  const double sched = iter < options.warmup ? double(iter) / double(options.warmup)
                                             : cosine_decay(iter - options.warmup, options);
  const double floor = options.adam_alpha > 0 ? options.adam_min_alpha / options.adam_alpha : 0;
  return floor + sched * (1 - floor);
}

}  // namespace lora
