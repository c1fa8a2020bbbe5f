#include "train/sample_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/plural.h"
#include "base/random.h"
#include "base/timing.h"

namespace lora {

void SampleLoss::begin(uint64_t cursor) {
  // Counted first: each token's share of the loss depends on how many targets there are in all.
  begin_ = end_ = cursor;
  tokens_ = n_inputs_ = 0;
  cursors_.clear();
  for (int64_t i = 0; i < grad_acc_; ++i) {
    cursors_.push_back(end_);
    end_ = next_batch(batch_, data_, options_, end_);
    tokens_ += batch_.n_targets;
    n_inputs_ += batch_.n_tokens();
  }
}

std::optional<double> SampleLoss::evaluate() {
  norms_.apply();
  const std::span<float> gradients = parameters_.gradients.span();
  std::ranges::fill(gradients, 0.0f);
  TreeSum sum(gradients, cluster_.share(grad_acc_));
  const Clock::time_point start = Clock::now();
  bool gave_up = false;
  try {
    compute_share(sum);
  } catch (const GivenUp&) {
    gave_up = true;
  }
  if (!exchange(seconds_since(start), gave_up)) return std::nullopt;
  cluster_.finish(sum, gradients, grad_acc_);
  return std::accumulate(sums_.begin(), sums_.end(), 0.0) / double(tokens_);
}

void SampleLoss::compute_share(TreeSum& sum) {
  bad_.clear();
  sums_.assign(size_t(grad_acc_), 0.0);
  const Share mine = cluster_.share(grad_acc_);
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    at_ = cursors_[size_t(i)];
    next_batch(batch_, data_, options_, at_);
    sums_[size_t(i)] = add_gradients(1.0f / float(tokens_));
    norms_.add_gradients();
    sum.add();
  }
}

// What the processes tell each other besides gradients. False if one of them gave up.
bool SampleLoss::exchange(double seconds, bool gave_up) {
  if (cluster_.any(gave_up)) return false;
  seconds_.assign(size_t(cluster_.size()), 0.0);
  seconds_[size_t(cluster_.rank())] = seconds;
  cluster_.all_shares(seconds_);  // one each
  cluster_.all_shares(sums_);
  if (cluster_.is_alone() || std::isfinite(std::accumulate(sums_.begin(), sums_.end(), 0.0))) return true;
  std::vector<uint64_t> bad;
  for (const std::vector<std::byte>& bytes : cluster_.all(std::as_bytes(std::span(bad_)))) {
    const size_t n = bad.size();
    bad.resize(n + bytes.size() / sizeof(uint64_t));
    if (!bytes.empty()) std::memcpy(&bad[n], bytes.data(), bytes.size());
  }
  bad_ = std::move(bad);
  return true;
}

double SampleLoss::add_gradients(float scale) {
  segments_.clear();
  for (const BatchSegment& s : batch_.segments) segments_.push_back({s.begin, s.length, s.begin, s.length});
  losses_.resize(batch_.inputs.size());
  std::optional<EmbeddingNoise> noise;
  if (neftune_ > 0) noise = {neftune_, random_bits(seed_, Purpose::embedding_noise, at_, 0)};
  step_.losses_and_gradients(losses_.data(), {batch_.inputs, batch_.targets, batch_.positions, segments_},
                             scale, random_bits(seed_, Purpose::dropout, at_, 0), noise);
  const double sum = std::accumulate(losses_.begin(), losses_.end(), 0.0);
  if (!std::isfinite(sum) && !options_.plain_fill) {  // there, a segment is several samples
    for (size_t k = 0; k < batch_.segments.size(); ++k) {
      const auto begin = losses_.begin() + batch_.segments[k].begin;
      if (!std::all_of(begin, begin + batch_.segments[k].length, [](double l) { return std::isfinite(l); }))
        bad_.push_back(at_ + k);
    }
  }
  return sum;
}

std::string SampleLoss::blame() const {
  constexpr uint64_t kMost = 8;
  std::vector<uint64_t> cursors = bad_;
  for (uint64_t c = begin_; bad_.empty() && c < std::min(end_, begin_ + kMost); ++c) cursors.push_back(c);
  const uint64_t n_all = bad_.empty() ? end_ - begin_ : bad_.size();
  cursors.resize(std::min<size_t>(cursors.size(), kMost));
  std::string text = n_all == 1 ? "sample " : "samples ";
  for (size_t i = 0; i < cursors.size(); ++i) {
    text += fmt::format("{}{}", i > 0 ? ", " : "", sample_at(data_, options_, cursors[i]) + 1);
  }
  return text + and_more(n_all - std::min(n_all, kMost));
}

}  // namespace lora
