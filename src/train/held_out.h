// The loss on samples that are not trained on.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cluster/cluster.h"
#include "data/batch.h"
#include "data/samples.h"
#include "model/pipeline.h"
#include "train/options.h"

namespace lora {

// Which samples are trained on and which are held out, both in file order. Of samples of their own
// (windows = false) max(1, fraction x n) are drawn with the seed. Windows overlap, so a block of the text is
// held out whose place the seed decides: windows that reach into it are neither trained on nor evaluated,
// and those evaluated lie side by side. Error if nothing is left for either.
struct SampleSplit {
  std::vector<int64_t> trained, held_out;
};
SampleSplit split_samples(int64_t n_samples, double fraction, uint64_t seed, bool windows, int64_t n_ctx);
// Of data that has both, each kind by itself; a kind of one sample is trained on.
SampleSplit split_samples(const Dataset& data, double fraction, uint64_t seed, int64_t n_ctx);

// What the evaluations of a run have shown so far, those before a resume included.
struct Evaluations {
  std::optional<double> before{};  // the held-out loss that training began with
  std::optional<double> best{};    // the lowest that is a number, of an adapter that was trained
  std::optional<double> last{};
  int64_t best_iteration = 0, last_iteration = 0;  // 0: not known, of checkpoints that did not keep it
  int64_t n_no_better = 0;      // evaluations since the best, or since the first where there is none
  std::string sample_prompt{};  // that was continued; "": none
  std::string sample_before{}, sample_best{};  // its continuations; "": none
};

struct HeldOutLoss {
  double loss = 0;       // mean over the target tokens, in nats
  int64_t tokens = 0;    // target tokens
  int64_t bad = -1;      // the first sample whose loss is no number; -1: none
  bool stopped = false;  // by go_on(): not of all samples
};
// n_batch samples at a time, which the pipeline's step must have been planned for. go_on() gets the figures
// so far and how many samples they are of; false: these are returned. Of several processes each computes its
// share of the batches, go_on() gets its figures as if the others were as far, and all return the same;
// GivenUp is thrown by all if by one. In a pipeline of several stages the first one's go_on() decides, and
// the stages but the last tell it no figures.
HeldOutLoss held_out_loss(Pipeline& pipeline, const Dataset& data, const std::vector<int64_t>& samples,
                          int64_t n_batch, int64_t n_ctx,
                          const std::function<bool(const HeldOutLoss& so_far, int64_t n_done)>& go_on = {},
                          const Grid& grid = {});

}  // namespace lora
