#include "train/sample_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/plural.h"
#include "base/random.h"

namespace lora {

void SampleLoss::begin(uint64_t cursor) {
  // Counted first: each token's share of the loss depends on how many targets there are in all.
  begin_ = end_ = cursor;
  tokens_ = n_inputs_ = 0;
  for (int64_t i = 0; i < grad_acc_; ++i) {
    end_ = next_batch(batch_, data_, options_, end_);
    tokens_ += batch_.n_targets;
    n_inputs_ += batch_.n_tokens();
  }
}

std::optional<double> SampleLoss::evaluate() try {
  bad_.clear();
  norms_.apply();
  std::fill_n(parameters_.gradients.data(), parameters_.gradients.size(), 0.0f);
  double loss = 0;
  at_ = begin_;
  for (int64_t i = 0; i < grad_acc_; ++i) {
    const uint64_t next = next_batch(batch_, data_, options_, at_);
    loss += add_gradients(1.0f / float(tokens_));
    at_ = next;
  }
  norms_.add_gradients();
  return loss / double(tokens_);
} catch (const GivenUp&) {
  return std::nullopt;
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
