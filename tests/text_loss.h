// The loss of a text as the program computes it, in f32.
#pragma once

#include <numeric>
#include <vector>

#include "model/step.h"

namespace lora::test {

// -ln p, in nats, of the token after each; 0 for the last.
inline std::vector<double> text_losses(const Model& model, const std::vector<int32_t>& ids) {
  const int64_t n = int64_t(ids.size());
  std::vector<int32_t> targets(ids.begin() + 1, ids.end()), positions(ids.size());
  targets.push_back(-1);
  std::iota(positions.begin(), positions.end(), 0);
  const AttentionSegment whole = {0, n, 0, n};
  std::vector<double> losses(ids.size());
  ThreadPool pool(2);
  Step step(model, plan_step(model, n, n, 0, false, GemmInput::f32, pool.size()), GemmInput::f32, pool);
  step.losses(losses.data(), {ids, targets, positions, {&whole, 1}});
  return losses;
}

inline double mean_loss(const Model& model, const std::vector<int32_t>& ids) {
  const std::vector<double> losses = text_losses(model, ids);
  return std::accumulate(losses.begin(), losses.end(), 0.0) / double(ids.size() - 1);
}

}  // namespace lora::test
