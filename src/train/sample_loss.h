// The loss of one iteration's samples and its gradient: n_batch samples at a time, grad_acc times, the mean
// over all their target tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "adapter/norms.h"
#include "adapter/parameters.h"
#include "data/batch.h"
#include "model/step.h"

namespace lora {

class SampleLoss {
 public:
  SampleLoss(Step& step, const Dataset& data, const BatchOptions& options, int64_t grad_acc,
             LoraParameters& parameters, TrainedNorms& norms, uint64_t seed, double neftune)
      : step_(step),
        data_(data),
        options_(options),
        grad_acc_(grad_acc),
        parameters_(parameters),
        norms_(norms),
        seed_(seed),
        neftune_(float(neftune)) {}

  // Takes the samples from the cursor on: what the next calls are about.
  void begin(uint64_t cursor);
  uint64_t end() const { return end_; }           // the cursor behind them
  int64_t tokens() const { return tokens_; }      // target tokens
  int64_t n_inputs() const { return n_inputs_; }  // tokens that are computed

  // The mean loss, its gradient in the parameters'. nullopt if the step gave up (Step::set_give_up).
  std::optional<double> evaluate();

  // Which samples the last evaluate() found a loss in that is not finite, or all of the iteration where
  // the losses are; as text, numbered in file order from 1.
  std::string blame() const;

 private:
  double add_gradients(float scale);

  Step& step_;
  const Dataset& data_;
  BatchOptions options_;
  int64_t grad_acc_;
  LoraParameters& parameters_;
  TrainedNorms& norms_;
  uint64_t seed_;  // of dropout and noise, with the batch's cursor
  float neftune_;
  uint64_t begin_ = 0, end_ = 0;
  int64_t tokens_ = 0, n_inputs_ = 0;
  std::vector<uint64_t> bad_;  // cursors
  uint64_t at_ = 0;            // cursor of the batch in work
  Batch batch_;
  std::vector<AttentionSegment> segments_;
  std::vector<double> losses_;
};

}  // namespace lora
