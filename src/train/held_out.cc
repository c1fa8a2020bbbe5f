#include "train/held_out.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace lora {
namespace {

void expect_both(const SampleSplit& split, double fraction) {
  if (split.trained.empty() || split.held_out.empty()) {
    fail("--val-split: {} leaves no sample to {}", fraction, split.trained.empty() ? "train on" : "evaluate");
  }
}

}  // namespace

SampleSplit split_samples(int64_t n_samples, double fraction, uint64_t seed, bool windows, int64_t n_ctx) {
  const int64_t n_held_out = std::max<int64_t>(1, std::llround(fraction * double(n_samples)));
  const uint64_t key = random_bits(seed, Purpose::split, 0, 0);
  SampleSplit split;
  if (n_held_out >= n_samples) {
    expect_both(split, fraction);
  } else if (windows) {
    const int64_t begin = int64_t(key % uint64_t(n_samples - n_held_out + 1)), end = begin + n_held_out;
    for (int64_t i = 0; i < n_samples; ++i) {
      if (i + n_ctx <= begin || i >= end) split.trained.push_back(i);
    }
    for (int64_t i = begin; i < end && (i == begin || i + n_ctx <= end); i += n_ctx) {
      split.held_out.push_back(i);
    }
  } else {
    std::vector<bool> is_held_out(size_t(n_samples), false);
    for (int64_t i = 0; i < n_held_out; ++i) {
      is_held_out[size_t(permute(key, 0, uint64_t(i), uint64_t(n_samples)))] = true;
    }
    for (int64_t i = 0; i < n_samples; ++i)
      (is_held_out[size_t(i)] ? split.held_out : split.trained).push_back(i);
  }
  expect_both(split, fraction);
  return split;
}

SampleSplit split_samples(const Dataset& data, double fraction, uint64_t seed, int64_t n_ctx) {
  SampleSplit split;
  for (const bool windows : {true, false}) {
    const std::vector<int64_t> numbers = data.numbers(windows);
    const auto n = int64_t(numbers.size());
    if (n == 0) continue;
    const bool is_all = n == data.n_samples();
    SampleSplit part =
        n > 1 || is_all ? split_samples(n, fraction, seed, windows, n_ctx) : SampleSplit{{0}, {}};
    for (const int64_t i : part.trained) split.trained.push_back(numbers[size_t(i)]);
    for (const int64_t i : part.held_out) split.held_out.push_back(numbers[size_t(i)]);
  }
  std::ranges::sort(split.trained);
  std::ranges::sort(split.held_out);
  return split;
}

HeldOutLoss held_out_loss(Step& step, const Dataset& data, const std::vector<int64_t>& samples,
                          int64_t n_batch, int64_t n_ctx,
                          const std::function<bool(const HeldOutLoss& so_far, int64_t n_done)>& go_on) {
  HeldOutLoss result;
  BatchOptions options{.n_ctx = n_ctx, .n_batch = n_batch, .shuffle = false, .samples = samples};
  Batch batch;
  std::vector<AttentionSegment> segments;
  std::vector<double> losses;
  double sum = 0;
  for (size_t at = 0; at < samples.size(); at += size_t(n_batch)) {
    options.n_batch = std::min(n_batch, int64_t(samples.size() - at));
    next_batch(batch, data, options, at);
    segments.clear();
    for (const BatchSegment& s : batch.segments) segments.push_back({s.begin, s.length, s.begin, s.length});
    losses.resize(batch.inputs.size());
    step.losses(losses.data(), {batch.inputs, batch.targets, batch.positions, segments});
    sum = std::accumulate(losses.begin(), losses.end(), sum);
    for (size_t k = 0; !std::isfinite(sum) && result.bad < 0 && k < batch.segments.size(); ++k) {
      const auto begin = losses.begin() + batch.segments[k].begin;
      if (!std::all_of(begin, begin + batch.segments[k].length, [](double l) { return std::isfinite(l); }))
        result.bad = samples[at + k];
    }
    result.tokens += batch.n_targets;
    result.loss = std::abs(sum) / double(result.tokens);  // losses are positive; not a number has no sign
    if (go_on && !go_on(result, int64_t(at) + options.n_batch)) break;
  }
  return result;
}

}  // namespace lora
