#include "train/sample_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/plural.h"
#include "base/random.h"
#include "train/pipeline_batch.h"

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
  std::span<float> summed = gradients;
  if (!grid_.stages.is_alone()) {
    int64_t n = 0;
    for (const Share& s : owned_[size_t(grid_.stages.rank())]) n += s.end - s.begin;
    if (stage_gradients_.size() != n) stage_gradients_ = Buffer<float>(n);
    summed = stage_gradients_.span();
  }
  TreeSum sum(summed, grid_.peers.share(grad_acc_));
  bool gave_up = false;
  try {
    compute_share(sum);
  } catch (const GivenUp&) {
    gave_up = true;
  }
  if (!exchange(pipeline_.busy_seconds(), gave_up)) return std::nullopt;
  grid_.peers.finish(sum, summed, grad_acc_);
  exchange_gradients();
  return std::accumulate(sums_.begin(), sums_.end(), 0.0) / double(tokens_);
}

void SampleLoss::compute_share(TreeSum& sum) {
  bad_.clear();
  sums_.assign(size_t(grad_acc_), 0.0);
  const Share mine = grid_.peers.share(grad_acc_);
  pipeline_.run(
      {.n = mine.end - mine.begin,
       .load =
           [&](int64_t i, PipelineBatch& b) {
             const uint64_t at = cursors_[size_t(mine.begin + i)];
             next_batch(batch_, data_, options_, at);
             put(b, batch_);
             b.scale = 1.0f / float(tokens_);
             b.random_key = random_bits(seed_, Purpose::dropout, at, 0);
             b.noise.reset();
             if (neftune_ > 0) b.noise = {neftune_, random_bits(seed_, Purpose::embedding_noise, at, 0)};
           },
       .losses = [&](int64_t i, const PipelineBatch& batch,
                     std::span<const double> losses) { take_losses(mine.begin + i, batch, losses); },
       .gradients =
           [&](int64_t) {
             norms_.add_gradients();
             for_each_owned([](std::span<float> gradients, std::span<float> summed) {
               std::ranges::copy(gradients, summed.begin());
               std::ranges::fill(gradients, 0.0f);
             });
             sum.add();
           }});
}

// Of several stages: visit(gradients, their place among what this stage trains).
template <class Visit>
void SampleLoss::for_each_owned(const Visit& visit) {
  if (grid_.stages.is_alone()) return;
  const std::span<float> gradients = parameters_.gradients.span();
  size_t at = 0;
  for (const Share& s : owned_[size_t(grid_.stages.rank())]) {
    const auto n = size_t(s.end - s.begin);
    visit(gradients.subspan(size_t(s.begin), n), stage_gradients_.span().subspan(at, n));
    at += n;
  }
}

// Every stage gets those of all others.
void SampleLoss::exchange_gradients() {
  if (grid_.stages.is_alone()) return;
  for_each_owned([](std::span<float> gradients, std::span<float> summed) {
    std::ranges::copy(summed, gradients.begin());
  });
  const std::span<float> gradients = parameters_.gradients.span();
  Transport& transport = grid_.stages.transport();
  const int me = grid_.stages.rank();
  for (int stage = 0; stage < grid_.stages.size(); ++stage) {
    if (stage == me) continue;
    const auto part = [&](const Share& s) {
      return gradients.subspan(size_t(s.begin), size_t(s.end - s.begin));
    };
    for (const Share& s : owned_[size_t(me)]) transport.send(stage, std::as_bytes(part(s)));
    for (const Share& s : owned_[size_t(stage)]) transport.receive(stage, std::as_writable_bytes(part(s)));
  }
  transport.wait();
}

// What the processes tell each other besides gradients. False if one of them gave up.
bool SampleLoss::exchange(double seconds, bool gave_up) {
  const Cluster& all = grid_.all;
  if (all.any(gave_up)) return false;
  seconds_.assign(size_t(all.size()), 0.0);
  seconds_[size_t(all.rank())] = seconds;
  all.all_shares(seconds_);  // one each
  grid_.share_from_last(sums_);
  if (all.is_alone() || std::isfinite(std::accumulate(sums_.begin(), sums_.end(), 0.0))) return true;
  std::vector<uint64_t> bad;
  for (const std::vector<std::byte>& bytes : all.all(std::as_bytes(std::span(bad_)))) {
    const size_t n = bad.size();
    bad.resize(n + bytes.size() / sizeof(uint64_t));
    if (!bytes.empty()) std::memcpy(&bad[n], bytes.data(), bytes.size());
  }
  bad_ = std::move(bad);
  return true;
}

void SampleLoss::take_losses(int64_t i, const PipelineBatch& batch, std::span<const double> losses) {
  const double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
  sums_[size_t(i)] = sum;
  if (std::isfinite(sum) || options_.plain_fill) return;  // there, a segment is several samples
  for (size_t k = 0; k < batch.segments.size(); ++k) {
    const auto begin = losses.begin() + batch.segments[k].q_begin;
    if (!std::all_of(begin, begin + batch.segments[k].n_q, [](double l) { return std::isfinite(l); }))
      bad_.push_back(cursors_[size_t(i)] + k);
  }
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
