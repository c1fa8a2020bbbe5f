// Metrics files of training runs as a picture.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/chart.h"

namespace lora::cli {

enum class RunAxis { iterations, epochs, tokens, hours };
enum class LossAxis { automatic, linear, log };

struct PlotOptions {
  RunAxis x = RunAxis::iterations;
  LossAxis y = LossAxis::automatic;  // of losses and gradient norms
  std::optional<int64_t> smooth;     // iterations around each point; none: a tenth of the run
  std::string title;                 // "": one run's name, nothing above several
  Theme theme = Theme::automatic;    // a PNG, which knows no viewer, is light then
};

// Draws the losses, the learning rate, the gradient norm and the speed of runs, one line of a color each, to
// `output`, which ends in .svg or .png. Says on stderr what it has to leave out. UsageError for a name of
// another ending, or .png where that cannot be written; Error for files that are no metrics, or more than
// kMostHues.
void draw_runs(const std::vector<std::string>& metrics, const std::string& output,
               const PlotOptions& options);

}  // namespace lora::cli
