// Where a run's values do not fit the run. The defaults are those of the 2023 tool, made for some thousand
// iterations; they stay, and a run that is shorter, or reads little data, hears what fits it.
//
//   schedule:  a warmup of more than a tenth of the run; a decay of more than twice what is left behind it,
//              or of less than half; what fits is a twentieth, and the rest
//   data:      one sample; more than 50 readings where no --patience ends the run; what fits is 10
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/options.h"

namespace lora {

struct RunLength {
  int64_t n_iter = 0;     // the iteration at which it ends, earlier runs included
  int64_t n_samples = 0;  // that are trained on
  double readings = 0;    // how often it reads each token of them
};

// A line about the schedule and one about the data, each with what fits; none if all does.
std::vector<std::string> advice(const FinetuneOptions& options, const RunLength& run);

}  // namespace lora
