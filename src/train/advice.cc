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

// "" if no row applies.
std::string line_of(const std::string& head, const std::vector<Row>& rows, const char* tail = "") {
  std::string what, fits;
  for (const Row& row : rows) {
    if (!row.applies) continue;
    what += (what.empty() ? "" : ", ") + row.what;
    fits += (fits.empty() ? "" : " ") + row.fits;
  }
  return what.empty() ? "" : fmt::format("warning: {}{}; {}{}", head, what, fits, tail);
}

std::string schedule_line(const FinetuneOptions& o, int64_t n_iter) {
  const ScheduleSteps steps = schedule_steps(o, n_iter);
  const bool warms_too_long = steps.warmup > std::max<int64_t>(1, n_iter / 10);
  const int64_t fitting_warmup = warms_too_long ? n_iter / 20 : steps.warmup;
  const int64_t fitting_decay = std::max<int64_t>(1, n_iter - fitting_warmup);
  const int64_t left = std::max<int64_t>(0, n_iter - steps.warmup);
  const bool decays =
      o.schedule != Schedule::constant && o.cos_decay_min < 1 && o.adam_min_alpha < o.adam_alpha;
  const std::string fits = fmt::format("--cos-decay-steps {}", fitting_decay);
  return line_of(
      fmt::format("the schedule does not fit a run of {}: ", count_of(n_iter, "iteration")),
      {{warms_too_long,
        steps.warmup > n_iter
            ? fmt::format("--warmup {} is longer, so that --adam-alpha is never reached", steps.warmup)
            : fmt::format("--warmup {} is {:.0f}% of it", steps.warmup,
                          100 * double(steps.warmup) / double(n_iter)),
        fmt::format("--warmup {}", fitting_warmup)},
       {decays && steps.decay > 2 * std::max<int64_t>(1, left),
        left == 0 ? fmt::format("--cos-decay-steps {} begins when it is over", steps.decay)
                  : fmt::format("--cos-decay-steps {} ends far behind it, which leaves the learning rate at "
                                "{:.2f} of its height",
                                steps.decay, schedule(n_iter, n_iter, o)),
        fits},
       {decays && !o.restart && 2 * steps.decay < left,
        fmt::format("--cos-decay-steps {} ends long before it, with {} at the lowest learning rate",
                    steps.decay, count_of(left - steps.decay, "iteration")),
        fits}},
      " would fit");
}

std::string data_line(const FinetuneOptions& o, const RunLength& run) {
  constexpr double kMany = 50, kFitting = 10;
  const double part = kFitting / std::max(run.readings, kFitting);
  const std::string shorter =
      o.epochs ? fmt::format("--epochs {:.3g}", *o.epochs * part)
               : fmt::format("{} {:.0f}", o.optimizer == Optimizer::adam ? "--adam-iter" : "--lbfgs-iter",
                             std::ceil(double(run.n_iter) * part));
  return line_of(
      "", {{run.n_samples == 1,
            fmt::format("there is one sample, which the run reads {:.0f} times: it is learnt by "
                        "heart, and little else",
                        run.readings),
            "--sample-start or --window cuts a text into several"},
           {run.n_samples > 1 && run.readings > kMany && o.patience <= 0,
            fmt::format("the run reads its data {:.0f} times, enough to learn it by heart", run.readings),
            fmt::format("{} reads it {:.0f} times, --val-split with --patience ends in time", shorter,
                        kFitting)}});
}

}  // namespace

std::vector<std::string> advice(const FinetuneOptions& options, const RunLength& run) {
  std::vector<std::string> lines;
  if (options.optimizer == Optimizer::adam) lines.push_back(schedule_line(options, run.n_iter));
  lines.push_back(data_line(options, run));
  std::erase(lines, "");
  if (!lines.empty()) lines.back() += " (lora train chooses such values by itself)";
  return lines;
}

}  // namespace lora
