// A metrics file, as `lora finetune --metrics` writes it, as the columns of a table.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace lora::cli {

inline constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// A row per iteration; kNone where a line has no number. What is drawn of values beyond 1e100 is 1e100.
struct Metrics {
  std::vector<double> iter, loss, val_loss, lr, grad_norm, tok_per_s, epoch;
  std::vector<double> tokens, seconds;  // from the file's first iteration to the end of this one
  int64_t n_val_loss_none = 0;          // evaluations whose loss was not finite
  double val_loss_before = kNone;       // the held-out loss before the first iteration
};

// Error "PATH: line N: ..." for a line that is no metrics, one without a number `iter` and `loss` (null: not
// finite), an iteration that does not follow on the one before. A line that a running program has not
// finished yet is left out.
Metrics read_metrics(const std::string& path);

}  // namespace lora::cli
