// The loss of a model on samples, as training computes it for held-out data.
#pragma once

#include "generate/evaluate.h"
#include "train/options.h"

namespace lora {

struct SamplesLoss {
  EvalResult result;
  int64_t samples = 0;  // evaluated; where it was stopped, those done
};

// The samples of data.train_data, cut and masked as a run with these options has them with --val-data, and
// its arithmetic, so that the figure is the held-out loss which that run reports. Of the model and its
// adapters `model` decides, of `data` what says how files become samples. Where rows are filled in training,
// each sample is by itself here, as held-out ones are. With bf16 products the last digits depend on
// data.n_batch, too. `events` counts samples in place of windows. Throws Error naming the file or option at
// fault.
SamplesLoss evaluate_samples(const ModelOptions& model, const FinetuneOptions& data,
                             const EvalEvents& events);

}  // namespace lora
