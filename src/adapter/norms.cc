#include "adapter/norms.h"

#include <algorithm>

#include "base/error.h"

namespace lora {

TrainedNorms::TrainedNorms(Model& model, LoraParameters& parameters) : parameters_(&parameters) {
  for (size_t i = 0; i < parameters.pairs.size(); ++i) {
    const LoraParameters::Pair& pair = parameters.pairs[i];
    if (!pair.is_norm()) continue;
    Norm* place = model.find_norm(pair.base);
    if (!place || pair.n_out != 1 || pair.n_in != place->n()) {
      fail("{}: tensor {}: not a norm that can be trained", model.gguf.path(), pair.base);
    }
    Trained norm{i, {}, Buffer<float>(pair.n_in), Buffer<float>(pair.n_in)};
    norm.norm.reset(place);
    place->trained = norm.gain.data();
    place->gradient = norm.gradient.data();
    norms_.push_back(std::move(norm));
  }
  apply();
}

void TrainedNorms::apply() {
  for (Trained& norm : norms_) {
    const LoraParameters::Pair& pair = parameters_->pairs[norm.pair];
    const float* a = &parameters_->values[pair.a];
    const float* b = &parameters_->values[pair.b];
    for (int64_t i = 0; i < pair.n_in; ++i) {
      float change = 0;
      for (int64_t k = 0; k < pair.rank; ++k) change += b[k] * a[k * pair.n_in + i];
      norm.gain[i] = norm.norm->gain[i] + parameters_->scale(pair) * change;
    }
    std::ranges::fill(norm.gradient.span(), 0.0f);
  }
}

void TrainedNorms::add_gradients() {
  for (Trained& norm : norms_) {
    const LoraParameters::Pair& pair = parameters_->pairs[norm.pair];
    const float scale = parameters_->scale(pair);
    for (int64_t k = 0; k < pair.rank; ++k) {
      const float* a = &parameters_->values[pair.a + k * pair.n_in];
      float* da = &parameters_->gradients[pair.a + k * pair.n_in];
      const float b = parameters_->values[pair.b + k];
      float sum = 0;
      for (int64_t i = 0; i < pair.n_in; ++i) {
        sum += a[i] * norm.gradient[i];
        da[i] += scale * b * norm.gradient[i];
      }
      parameters_->gradients[pair.b + k] += scale * sum;
    }
    std::ranges::fill(norm.gradient.span(), 0.0f);
  }
}

}  // namespace lora
