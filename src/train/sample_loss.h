// The loss of one iteration's samples and its gradient: n_batch samples at a time, grad_acc times, the mean
// over all their target tokens. Each n_batch of them are a leaf of the gradient's sum (cluster/cluster.h), of
// which each process of a run has its share.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "adapter/norms.h"
#include "adapter/parameters.h"
#include "cluster/cluster.h"
#include "data/batch.h"
#include "model/pipeline.h"

namespace lora {

class SampleLoss {
 public:
  // owned: of the parameters, what each stage of the pipeline trains (train/run.h).
  SampleLoss(Pipeline& pipeline, const Dataset& data, const BatchOptions& options, int64_t grad_acc,
             LoraParameters& parameters, TrainedNorms& norms, uint64_t seed, double neftune, const Grid& grid,
             std::vector<std::vector<Share>> owned)
      : pipeline_(pipeline),
        data_(data),
        options_(options),
        grad_acc_(grad_acc),
        parameters_(parameters),
        norms_(norms),
        seed_(seed),
        neftune_(float(neftune)),
        grid_(grid),
        owned_(std::move(owned)) {}

  // Takes the samples from the cursor on: what the next calls are about.
  void begin(uint64_t cursor);
  uint64_t end() const { return end_; }           // the cursor behind them
  int64_t tokens() const { return tokens_; }      // target tokens
  int64_t n_inputs() const { return n_inputs_; }  // tokens that are computed

  // The mean loss, its gradient in the parameters'. nullopt if the step gave up (Step::set_give_up), here or
  // in another process.
  std::optional<double> evaluate();

  // Which samples the last evaluate() found a loss in that is not finite, or all of the iteration where
  // the losses are; as text, numbered in file order from 1.
  std::string blame() const;

  // Seconds that each process computed its share in the last evaluate(), by rank.
  const std::vector<double>& seconds() const { return seconds_; }

 private:
  void compute_share(TreeSum& sum);
  void take_losses(int64_t i, const PipelineBatch& batch, std::span<const double> losses);
  bool exchange(double seconds, bool gave_up);
  void exchange_gradients();
  template <class Visit>
  void for_each_owned(const Visit& visit);

  Pipeline& pipeline_;
  const Dataset& data_;
  BatchOptions options_;
  int64_t grad_acc_;
  LoraParameters& parameters_;
  TrainedNorms& norms_;
  uint64_t seed_;  // of dropout and noise, with the batch's cursor
  float neftune_;
  const Grid& grid_;
  std::vector<std::vector<Share>> owned_;
  uint64_t begin_ = 0, end_ = 0;
  int64_t tokens_ = 0, n_inputs_ = 0;
  std::vector<uint64_t> cursors_;  // where each batch begins
  std::vector<double> sums_;       // of each batch's losses
  std::vector<uint64_t> bad_;      // cursors
  std::vector<double> seconds_;
  Buffer<float> stage_gradients_;  // of what the stage trains, side by side; where there are several stages
  Batch batch_;
};

}  // namespace lora
