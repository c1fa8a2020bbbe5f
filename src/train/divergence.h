// Whether a run goes astray, from what its iterations did. A batch that is hard or odd is no such thing: each
// of the last iterations has to stand out.
//
//   loss:      each of the last 15 above 1.5 x the start + 0.5 nats, or above 2 x its lowest level + 1. The
//   start
//              is the fourth lowest of the first ten, the lowest level the lowest median of 15 in a row.
//              Where no loss came back to the first three, these are a lowest level: their median, or the
//              first where the others are far from it.
//   beginning: in the first 20 the mean of five above 1.2 x the first, and among them a norm above 12 x the
//              first. A step that is far too long can end at a loss that is high but below the start. Not
//              where the first is below 2 nats, which may be one easy sample.
//   gradient:  each of the last five norms above 20 x the median of up to 50 before them, while the loss is
//              not below half its start. (Where a text is nearly known, all gradients are small.)
//
// It begins anew with each run, a resumed one too, which is measured against its own first iterations.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "train/options.h"

namespace lora {

struct IterationRecord;

struct Divergence {
  std::string what;       // "the loss was 7.2130 at the least in 15 iterations, 2.5110 at the start"
  int64_t last_good = 0;  // the last iteration before it began
};

class DivergenceWatch {
 public:
  // Once for the loss or the beginning, and for the loss again where it has doubled since; once for the
  // gradient.
  std::optional<Divergence> add(const IterationRecord& record);

 private:
  std::optional<Divergence> loss_sign();
  std::optional<Divergence> beginning_sign();
  std::optional<Divergence> gradient_sign();
  std::optional<double> start() const;

  std::vector<double> first_;  // losses of the run's first iterations
  std::deque<double> losses_;  // of the last ones, oldest first
  std::deque<double> norms_;
  std::optional<double> early_;  // the start until a later loss comes back to it
  std::optional<double> level_;
  double first_norm_ = 0;
  int64_t n_ = 0;  // iterations of this run
  int64_t iteration_ = 0;
  double warned_loss_ = 0;
  bool warned_gradient_ = false;
};

// The flags that help: a third of the learning rate, clipping where it is off, a warmup where there is hardly
// any.
std::string ways_out_of_divergence(const FinetuneOptions& options, int64_t n_iter);

}  // namespace lora
