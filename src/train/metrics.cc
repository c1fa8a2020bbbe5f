#include "train/metrics.h"

#include <fmt/format.h>

#include <charconv>

namespace lora {

std::string to_json(const IterationRecord& r) {
  return fmt::format(
      R"({{"iter":{},"epoch":{:.9g},"sample":{},"loss":{:.9g},"lr":{:.9g},"sched":{:.9g},"grad_norm":{:.9g},)"
      R"("tokens":{},"dt_s":{:.9g},"tok_per_s":{:.9g},"eta_s":{:.9g},"rss_bytes":{}{}}})",
      r.iter, r.epoch, r.sample, r.loss, r.lr, r.sched, r.grad_norm, r.tokens, r.dt_s, r.tok_per_s, r.eta_s,
      r.rss_bytes, r.val_loss ? fmt::format(R"(,"val_loss":{:.9g})", *r.val_loss) : "");
}

AppendFile open_metrics(const std::string& path, int64_t last_kept) {
  return {path, [=](std::string_view line) {
            constexpr std::string_view kStart = R"({"iter":)";
            int64_t iter = 0;
            if (!line.starts_with(kStart)) return false;
            std::from_chars(line.data() + kStart.size(), line.data() + line.size(), iter);
            return 1 <= iter && iter <= last_kept;
          }};
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
