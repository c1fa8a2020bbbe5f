#include "train/convergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lora {

void Convergence::add(double loss, const FinetuneOptions& options) {
  if (losses.empty() || loss < best) {
    best = loss;
    n_no_improvement = 0;
  } else {
    ++n_no_improvement;
  }
  losses.push_back(loss);
  const size_t n_kept = size_t(std::max<int64_t>(options.opt_past, 1)) + 1;
  if (losses.size() > n_kept) losses.erase(losses.begin(), losses.end() - std::ptrdiff_t(n_kept));
}

std::string Convergence::reached(const FinetuneOptions& options) const {
  if (losses.empty()) return "";
  const int64_t n = int64_t(losses.size());
  const double loss = losses.back();
  const auto change_since = [&](int64_t past) {
    return std::abs(losses[size_t(n - 1 - past)] - loss) / loss;
  };
  if (options.optimizer == Optimizer::adam && options.adam_epsf > 0 && n > 1 &&
      change_since(1) < options.adam_epsf) {
    return fmt::format("--adam-epsf: the loss changed by a part of {:.3g}", change_since(1));
  }
  if (options.opt_past > 0 && options.opt_delta > 0 && n > options.opt_past &&
      change_since(options.opt_past) < options.opt_delta) {
    return fmt::format("--opt-delta: the loss changed by a part of {:.3g} in {} iterations",
                       change_since(options.opt_past), options.opt_past);
  }
  if (options.opt_max_no_improvement > 0 && n_no_improvement >= options.opt_max_no_improvement) {
    return fmt::format("--opt-max-no-improvement: {} iterations without a loss below {:.6f}",
                       n_no_improvement, best);
  }
  return "";
}

}  // namespace lora
