// When a run has converged. The state is fed with the loss of each iteration and kept in checkpoints; which
// tests look at it is said anew by each run's options.
//
//   adam_epsf:               |loss - previous| / loss < epsf                         (Adam only)
//   opt_past, opt_delta:     |loss opt_past iterations ago - loss| / loss < delta
//   opt_max_no_improvement:  so many iterations since the lowest loss
//
// All look at the losses of training. --patience, which looks at the held-out loss, is the run's
// (TrainState).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/options.h"

namespace lora {

struct Convergence {
  std::vector<double> losses;  // of the last iterations, oldest first
  double best = 0;             // lowest loss; of no meaning before the first
  int64_t n_no_improvement = 0;

  // Keeps as many losses as opt_past looks back, and at least one before the last.
  void add(double loss, const FinetuneOptions& options);
  // Which test says that the run is over, in words; empty: none.
  std::string reached(const FinetuneOptions& options) const;
};

}  // namespace lora
