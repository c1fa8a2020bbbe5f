#include "data/batch.h"

#include <algorithm>

#include "base/random.h"

namespace lora {
namespace {

// Appends the first n tokens of a sample, as a segment of its own unless it continues one.
void append(Batch& batch, const std::vector<Token>& inputs, const std::vector<Token>& targets, int64_t n,
            bool continues) {
  if (!continues) batch.segments.push_back({batch.n_tokens(), 0});
  BatchSegment& segment = batch.segments.back();
  for (int64_t i = 0; i < n; ++i) {
    batch.inputs.push_back(inputs[size_t(i)]);
    batch.targets.push_back(targets[size_t(i)]);
    batch.positions.push_back(int32_t(segment.length + i));
    batch.n_targets += targets[size_t(i)] != kIgnore;
  }
  segment.length += n;
}

}  // namespace

int64_t sample_at(const Dataset& dataset, const BatchOptions& options, uint64_t cursor) {
  const uint64_t n = uint64_t(options.n_samples(dataset));
  uint64_t index = cursor % n;
  if (options.shuffle) index = permute(options.seed, cursor / n, index, n);
  return options.samples.empty() ? int64_t(index) : options.samples[size_t(index)];
}

uint64_t next_batch(Batch& batch, const Dataset& dataset, const BatchOptions& options, uint64_t cursor) {
  batch.inputs.clear();
  batch.targets.clear();
  batch.positions.clear();
  batch.segments.clear();
  batch.n_targets = 0;
  std::vector<Token> inputs, targets;
  for (int64_t row = 0; row < options.n_batch; ++row) {
    int64_t room = options.n_ctx;
    do {
      dataset.sample(sample_at(dataset, options, cursor++), inputs, targets);
      const int64_t n = std::min(int64_t(inputs.size()), room);
      append(batch, inputs, targets, n, options.plain_fill && room < options.n_ctx);
      room -= n;
    } while (options.fill_with_next_samples && room > 0);
  }
  return cursor;
}

}  // namespace lora
