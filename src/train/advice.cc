#include "train/advice.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/plural.h"
#include "train/schedule.h"

namespace lora {
namespace {

struct Row {
  bool applies;
  std::string what, fits;
};

std::string schedule_line(const FinetuneOptions& o, int64_t n_iter) {
  const auto [warmup, decay] = schedule_steps(o, n_iter);
  const int64_t left = std::max<int64_t>(0, n_iter - warmup);
  const bool decays =
      o.schedule != Schedule::constant && o.cos_decay_min < 1 && o.adam_min_alpha < o.adam_alpha;
  const std::string fits = "--cos-decay-steps auto";
  const Row rows[] = {
      {warmup > std::max<int64_t>(1, n_iter / 10),
       warmup > n_iter
           ? fmt::format("--warmup {} is longer, so that --adam-alpha is never reached", warmup)
           : fmt::format("--warmup {} is {:.0f}% of it", warmup, 100 * double(warmup) / double(n_iter)),
       "--warmup 5%"},
      {decays && decay > 2 * std::max<int64_t>(1, left),
       left == 0 ? fmt::format("--cos-decay-steps {} begins when it is over", decay)
                 : fmt::format("--cos-decay-steps {} ends far behind it, which leaves the learning rate at "
                               "{:.2f} of its height",
                               decay, schedule(n_iter, n_iter, o)),
       fits},
      {decays && !o.restart && 2 * decay < left,
       fmt::format("--cos-decay-steps {} ends long before it, with {} at the lowest learning rate", decay,
                   count_of(left - decay, "iteration")),
       fits}};
  std::string what, flags;
  for (const Row& row : rows) {
    if (!row.applies) continue;
    what += (what.empty() ? "" : ", ") + row.what;
    flags += (flags.empty() ? "" : " ") + row.fits;
  }
  return what.empty() ? ""
                      : fmt::format("warning: the schedule does not fit a run of {}: {}; {} would fit",
                                    count_of(n_iter, "iteration"), what, flags);
}

std::string readings_line(const FinetuneOptions& o, const RunLength& run) {
  constexpr double kMany = 50, kFitting = 10;
  if (run.readings <= kMany || o.patience > 0) return "";
  const double part = kFitting / run.readings;
  const std::string shorter =
      o.epochs ? fmt::format("--epochs {:.3g}", *o.epochs * part)
               : fmt::format("{} {:.0f}", o.optimizer == Optimizer::adam ? "--adam-iter" : "--lbfgs-iter",
                             std::ceil(double(run.n_iter) * part));
  return fmt::format(
      "warning: the run reads its data {:.0f} times, enough to learn it by heart; {} reads it {:.0f} times, "
      "--val-split with --patience ends in time",
      run.readings, shorter, kFitting);
}

}  // namespace

std::vector<std::string> advice(const FinetuneOptions& options, const RunLength& run) {
  std::vector<std::string> lines;
  if (options.optimizer == Optimizer::adam) lines.push_back(schedule_line(options, run.n_iter));
  if (run.n_samples > 1) lines.push_back(readings_line(options, run));
  std::erase(lines, "");
  if (!lines.empty()) lines.back() += " (lora train chooses such values by itself)";
  if (run.n_samples == 1) {
    lines.push_back(fmt::format(
        "warning: there is one sample, which the run reads {:.0f} times: it is learnt by heart, and "
        "little else; --sample-start or --window cuts a text into several",
        run.readings));
  }
  return lines;
}

}  // namespace lora
