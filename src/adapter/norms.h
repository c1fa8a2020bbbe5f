// Adapters on the gains of norms, in training. A gain g (n_embd) is seen as a matrix of one row, so that a
// pair is A (rank, n_embd) and B (1, rank):
//
//   g' = g + scale B A       dB_k = scale sum_i A_ki dg'_i       dA_ki = scale B_k dg'_i
//
// The model computes with g' in the place of g (nn/norm.h), which it keeps.
#pragma once

#include <memory>
#include <vector>

#include "adapter/parameters.h"

namespace lora {

class TrainedNorms {
 public:
  TrainedNorms() = default;
  // Of the norm pairs among the parameters, attached to the model as long as this lives. Model and parameters
  // must stay where they are.
  TrainedNorms(Model& model, LoraParameters& parameters);
  TrainedNorms(TrainedNorms&&) = default;
  TrainedNorms& operator=(TrainedNorms&&) = default;

  // Before passes: computes g' from the parameters as they are now, and forgets what a pass that gave up left
  // of gradients.
  void apply();
  // Adds the gradients of the gains, which backward passes have summed up, to those of A and B, and forgets
  // them.
  void add_gradients();

 private:
  struct Detach {
    void operator()(Norm* norm) const {
      norm->trained = nullptr;
      norm->gradient = nullptr;
    }
  };
  struct Trained {
    size_t pair;
    std::unique_ptr<Norm, Detach> norm;  // the model's, with g
    Buffer<float> gain, gradient;        // g', dg'
  };
  LoraParameters* parameters_ = nullptr;
  std::vector<Trained> norms_;
};

}  // namespace lora
