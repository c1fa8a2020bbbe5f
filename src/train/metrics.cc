#include "train/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace lora {

namespace {

constexpr std::string_view kStart = R"({"iter":)";

constexpr std::string_view kValLoss = R"(,"val_loss":)";

std::string val_loss_field(double val_loss) {
  return fmt::format("{}{:.9g}", kValLoss, val_loss);
}

// 0 if the line is not of a metrics file.
int64_t iteration_of(std::string_view line) {
  int64_t iter = 0;
  if (line.starts_with(kStart)) std::from_chars(line.data() + kStart.size(), line.data() + line.size(), iter);
  return iter;
}

}  // namespace

std::string to_json(const IterationRecord& r) {
  return fmt::format(
      R"({{"iter":{},"epoch":{:.9g},"sample":{},"loss":{:.9g},"lr":{:.9g},"sched":{:.9g},"grad_norm":{:.9g},)"
      R"("tokens":{},"dt_s":{:.9g},"tok_per_s":{:.9g},"eta_s":{:.9g},"rss_bytes":{}{}}})",
      r.iter, r.epoch, r.sample, r.loss, r.lr, r.sched, r.grad_norm, r.tokens, r.dt_s, r.tok_per_s, r.eta_s,
      r.rss_bytes, r.val_loss ? val_loss_field(*r.val_loss) : "");
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
