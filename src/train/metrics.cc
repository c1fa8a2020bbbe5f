#include "train/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/numbers.h"

namespace lora {

namespace {

constexpr std::string_view kStart = R"({"iter":)";
constexpr std::string_view kRun = R"(,"run":")";
constexpr std::string_view kValLoss = R"(,"val_loss":)";

// JSON knows no other numbers than finite ones.
std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.9g}", value) : "null";
}

std::string val_loss_field(double val_loss) {
  return fmt::format("{}{}", kValLoss, number(val_loss));
}

// 0 if the line is not of a metrics file.
int64_t iteration_of(std::string_view line) {
  if (!line.starts_with(kStart)) return 0;
  line.remove_prefix(kStart.size());
  return take_number<int64_t>(line).value_or(0);
}

}  // namespace

std::string to_json(const IterationRecord& r, std::string_view run) {
  return fmt::format(
      R"({{"iter":{}{},"epoch":{},"sample":{},"loss":{},"lr":{},"sched":{},"grad_norm":{},"tokens":{},"dt_s":{},)"
      R"("tok_per_s":{},"eta_s":{},"rss_bytes":{}{}{}{}}})",
      r.iter, run.empty() ? "" : fmt::format("{}{}\"", kRun, run), number(r.epoch), r.sample, number(r.loss),
      number(r.lr), number(r.sched), number(r.grad_norm), r.tokens, number(r.dt_s), number(r.tok_per_s),
      number(r.eta_s), r.rss_bytes,
      r.precision.empty() ? "" : fmt::format(R"(,"precision":"{}")", r.precision),
      r.val_loss_before ? fmt::format(R"(,"val_loss_before":{})", number(*r.val_loss_before)) : "",
      r.val_loss ? val_loss_field(*r.val_loss) : "");
}

void expect_metrics_file(const std::string& path) {
  if (!file_exists(path)) return;
  const MappedFile file(output_target(path));
  const std::string_view text = file.text(), line = text.substr(0, text.find('\n'));
  // A line that a failing disk cut short has no end.
  const bool cut_short = line.size() == text.size() && kStart.starts_with(line.substr(0, kStart.size()));
  if (iteration_of(line) > 0 || cut_short) return;
  fail(
      "--metrics: {}: does not begin with a line of metrics, so it is another file: name a new one, or "
      "remove it",
      path);
}

bool is_metrics_of(const std::string& run, const std::string& path) {
  const MappedFile file(output_target(path));
  const std::string_view text = file.text(), line = text.substr(0, text.find('\n'));
  return line.size() == text.size() || line.find(fmt::format("{}{}\"", kRun, run)) != line.npos;
}

AppendFile open_metrics(const std::string& path, int64_t last_kept) {
  expect_metrics_file(path);
  return {path, [=](std::string_view line) {
            const int64_t iter = iteration_of(line);
            return 1 <= iter && iter <= last_kept;
          }};
}

AppendFile open_metrics_with(const std::string& path, int64_t last_kept, double val_loss) {
  expect_metrics_file(path);
  std::string kept;
  if (file_exists(path)) {
    const MappedFile before(path);
    std::string_view rest = before.text();
    for (size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      std::string_view line = rest.substr(0, end);
      const int64_t iter = iteration_of(line);
      if (iter < 1 || iter > last_kept) break;
      const bool is_last = iter == last_kept && line.ends_with('}');
      // A run that was killed before it saved has rewritten the line already.
      if (is_last) line = line.substr(0, std::min(line.find(kValLoss), line.size() - 1));
      kept += line;
      kept += is_last ? val_loss_field(val_loss) + "}\n" : "\n";
    }
  }
  AtomicFile file(path);
  file.write(kept);
  file.commit();
  return open_metrics(path, last_kept);
}

void RemainingTime::add_iteration(double seconds, int64_t tokens) {
  if (n_++ == 1) seconds_ = tokens_ = 0;
  seconds_ += seconds;
  tokens_ += double(tokens);
}

double RemainingTime::seconds(int64_t n_iterations, int64_t n_saves, int64_t n_evaluations) const {
  const double per_token = tokens_ > 0 ? seconds_ / tokens_ : 0;
  return per_token * mean_tokens_ * double(n_iterations) + save_s_ * double(n_saves) +
         evaluation_s_ * double(n_evaluations);
}

int64_t multiples_left(int64_t done, int64_t total, int64_t every) {
  return every > 0 && total > done ? total / every - done / every : 0;
}

}  // namespace lora
