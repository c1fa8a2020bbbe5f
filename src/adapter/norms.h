// Adapters on the gains of norms, in training. A gain g (n_embd) is seen as a matrix of one row, so that a
// pair is A (rank, n_embd) and B (1, rank):
//
//   g' = g + scale B A       dB_k = scale sum_i A_ki dg'_i       dA_ki = scale B_k dg'_i
//
// The model computes with gains as plain arrays: they are replaced by g' before a pass.
#pragma once

#include <vector>

#include "adapter/parameters.h"

namespace lora {

class TrainedNorms {
 public:
  TrainedNorms() = default;
  // Of the norm pairs among the parameters. Model and parameters must stay where they are.
  TrainedNorms(Model& model, LoraParameters& parameters);
  TrainedNorms(TrainedNorms&&) = default;
  TrainedNorms& operator=(TrainedNorms&&) = default;

  // Gives the model the gains of the parameters as they are now.
  void apply();
  // Adds the gradients of the gains, which backward passes have summed up, to those of A and B.
  void add_gradients();

 private:
  struct Norm {
    size_t pair;
    float* gain;  // the model's
    Buffer<float> base, gradient;
  };
  LoraParameters* parameters_ = nullptr;
  std::vector<Norm> norms_;
};

}  // namespace lora
