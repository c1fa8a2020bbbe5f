#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/elementary.h"

namespace lora {
namespace {

double decay(int64_t t, int64_t steps, const FinetuneOptions& options) {
  if (options.schedule == Schedule::constant) return 1;
  while (options.restart && t > steps) {
    t -= steps;
    steps = int64_t(std::clamp(std::floor(double(steps) * options.cos_decay_restart), 1.0, 0x1p53));
  }
  const double turn = double(std::min(t, steps)) / double(steps), min = options.cos_decay_min;
  if (options.schedule == Schedule::linear) return 1 - (1 - min) * turn;
  return min + (1 - min) / 2 * (1 + elementary::cos(std::numbers::pi * turn));
}

int64_t iterations(const RunShare& given, int64_t automatic, int64_t n_iter) {
  if (given.is_automatic) return automatic;
  if (!given.percent) return given.n;
  return *given.percent == 0 ? 0 : std::max<int64_t>(1, std::llround(*given.percent / 100 * double(n_iter)));
}

}  // namespace

std::string_view name(Schedule schedule) {
  constexpr std::string_view kNames[] = {"cosine", "linear", "constant"};
  return kNames[size_t(schedule)];
}

ScheduleSteps schedule_steps(const FinetuneOptions& options, int64_t n_iter) {
  ScheduleSteps steps;
  steps.warmup = iterations(options.warmup, std::max<int64_t>(1, n_iter / 20), n_iter);
  steps.decay = std::max<int64_t>(1, iterations(options.cos_decay_steps, n_iter - steps.warmup, n_iter));
  return steps;
}

double schedule(int64_t iter, int64_t n_iter, const FinetuneOptions& options) {
  const auto [warmup, steps] = schedule_steps(options, n_iter);
  const double sched = iter < warmup ? double(iter) / double(warmup) : decay(iter - warmup, steps, options);
  const double floor = options.adam_alpha > 0 ? options.adam_min_alpha / options.adam_alpha : 0;
  return floor + sched * (1 - floor);
}

}  // namespace lora
