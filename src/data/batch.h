// Samples to the flat list of tokens that a training step computes. A batch is never padded:
// segment boundaries keep samples apart, so batching and packing are one mechanism.
//
// The endless stream of samples is a function of one number, the cursor: entry `cursor` is sample
// permute(seed, epoch, cursor % n, n) of the n to draw from, with epoch = cursor / n. Every epoch visits each
// sample once, and a run is resumed from the cursor alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/samples.h"

namespace lora {

// Tokens that attend to one another (causally): [begin, begin + length) of the batch.
struct BatchSegment {
  int64_t begin, length;
};

struct Batch {
  std::vector<Token> inputs;           // (n_tokens)
  std::vector<Token> targets;          // (n_tokens), kIgnore where nothing is trained on
  std::vector<int32_t> positions;      // (n_tokens), for the rotary embedding
  std::vector<BatchSegment> segments;  // in order, without gaps
  int64_t n_targets = 0;               // targets that are not kIgnore

  int64_t n_tokens() const { return int64_t(inputs.size()); }
};

struct BatchOptions {
  int64_t n_ctx = 128;  // tokens of a row at most
  int64_t n_batch = 8;  // rows
  bool shuffle = true;  // else file order in every epoch
  // Each row is filled with the samples that follow, the last one cut where the row is full. Every
  // sample is a segment of its own, its positions start at 0.
  bool fill_with_next_samples = false;
  // With fill_with_next_samples: a row is one segment and its positions run on, as the original
  // tool of 2023 had it.
  bool plain_fill = false;
  uint64_t seed = 0;
  // Numbers of the samples to draw from, in file order; empty: all. The memory is its owner's.
  std::span<const int64_t> samples = {};

  int64_t n_samples(const Dataset& dataset) const {
    return samples.empty() ? dataset.n_samples() : int64_t(samples.size());
  }
};

// Number of the dataset's sample at `cursor` of the endless stream.
int64_t sample_at(const Dataset& dataset, const BatchOptions& options, uint64_t cursor);

// Replaces `batch` by the next n_batch rows from `cursor` on and returns the cursor behind the last
// sample used (a sample cut by a full row is used). May run over the end of an epoch.
uint64_t next_batch(Batch& batch, const Dataset& dataset, const BatchOptions& options, uint64_t cursor);

}  // namespace lora
