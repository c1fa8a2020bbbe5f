#include "train/held_out.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "train/pipeline_batch.h"

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

namespace {

// Of each batch: what a process finds out of its share, and what all of them know then.
struct BatchLosses {
  std::vector<double> sums, tokens, bad;  // bad: the first sample whose loss is no number, or -1

  HeldOutLoss over(Share batches) const {
    HeldOutLoss result;
    double sum = 0;
    for (auto b = size_t(batches.begin); b < size_t(batches.end); ++b) {
      sum += sums[b];
      result.tokens += int64_t(tokens[b]);
      if (result.bad < 0) result.bad = int64_t(bad[b]);
    }
    result.loss = std::abs(sum) / double(result.tokens);  // losses are positive; not a number has no sign
    return result;
  }
};

}  // namespace

HeldOutLoss held_out_loss(Pipeline& pipeline, const Dataset& data, const std::vector<int64_t>& samples,
                          int64_t n_batch, int64_t n_ctx,
                          const std::function<bool(const HeldOutLoss& so_far, int64_t n_done)>& go_on,
                          const Grid& grid) {
  BatchOptions options{.n_ctx = n_ctx, .n_batch = n_batch, .shuffle = false, .samples = samples};
  const auto n_samples = int64_t(samples.size()), n_batches = (n_samples + n_batch - 1) / n_batch;
  const Share mine = grid.peers.share(n_batches);
  const std::vector<double> zeros(size_t(n_batches), 0.0), none(size_t(n_batches), -1.0);
  BatchLosses found = {zeros, zeros, none};
  bool goes_on = true;
  // n batches are done here, and as if the others were as far.
  const auto tell = [&](const HeldOutLoss& so_far, int64_t n) {
    goes_on = !go_on || go_on(so_far, std::min(n_samples, n * n_batch * grid.peers.size()));
  };
  Batch next;
  const auto load = [&](int64_t i, PipelineBatch& b) {
    const int64_t at = (mine.begin + i) * n_batch;
    options.n_batch = std::min(n_batch, n_samples - at);
    next_batch(next, data, options, uint64_t(at));
    put(b, next);
    if (!pipeline.is_last()) tell({}, i);  // the first stage, which tells how far it is, has no losses
  };
  const auto take = [&](int64_t i, const PipelineBatch& batch, std::span<const double> losses) {
    const int64_t b = mine.begin + i;
    double& sum = found.sums[size_t(b)] = std::accumulate(losses.begin(), losses.end(), 0.0);
    for (size_t k = 0; !std::isfinite(sum) && found.bad[size_t(b)] < 0 && k < batch.segments.size(); ++k) {
      const auto begin = losses.begin() + batch.segments[k].q_begin;
      if (!std::all_of(begin, begin + batch.segments[k].n_q, [](double l) { return std::isfinite(l); }))
        found.bad[size_t(b)] = double(samples[size_t(b * n_batch) + k]);
    }
    found.tokens[size_t(b)] = double(batch.n_targets());
    tell(found.over({mine.begin, b + 1}), i + 1);
  };
  int64_t n_done = 0;
  bool gave_up = false;
  try {
    n_done = pipeline.run(
        {.n = mine.end - mine.begin, .load = load, .losses = take, .goes_on = [&] { return goes_on; }});
  } catch (const GivenUp&) {
    gave_up = true;
  }
  if (grid.all.any(gave_up)) throw GivenUp{};
  if (!pipeline.is_last()) tell({}, n_done);
  for (auto* figures : {&found.sums, &found.tokens, &found.bad}) grid.share_from_last(*figures);
  HeldOutLoss all = found.over({0, n_batches});
  all.stopped = grid.all.any(n_done < mine.end - mine.begin);
  return all;
}

}  // namespace lora
