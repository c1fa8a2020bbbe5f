#include "train/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "train/finetune.h"
#include "train/schedule.h"

namespace lora {
namespace {

constexpr size_t kFirst = 10, kEarly = 3;
constexpr size_t kLosses = 15, kNorms = 50, kLastNorms = 5, kLeastNorms = 20;

bool is_far_from_start(double loss, double start) {
  return loss > 1.5 * start + 0.5;
}

bool is_far_from_level(double loss, double level) {
  return loss > 2 * level + 1;
}

// The n-th lowest, from 0.
template <class Values>
double lowest(const Values& values, size_t n) {
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::nth_element(sorted, sorted.begin() + std::ptrdiff_t(n));
  return sorted[n];
}

template <class Values>
double median(const Values& values) {
  return lowest(values, values.size() / 2);
}

template <class T>
void append(std::deque<T>& values, T value, size_t most) {
  values.push_back(value);
  if (values.size() > most) values.pop_front();
}

}  // namespace

std::optional<double> DivergenceWatch::start() const {
  if (early_) return early_;
  return first_.size() < kFirst ? std::nullopt : std::optional(lowest(first_, 3));
}

std::optional<Divergence> DivergenceWatch::add(const IterationRecord& record) {
  iteration_ = record.iter;
  if (n_++ == 0) first_norm_ = record.grad_norm;
  append(losses_, record.loss, kLosses);
  append(norms_, record.grad_norm, kNorms + kLastNorms);
  if (first_.size() < kFirst) {
    first_.push_back(record.loss);
    if (first_.size() == kEarly) {
      const bool left_at_once =
          is_far_from_start(first_[1], first_[0]) && is_far_from_start(first_[2], first_[0]);
      early_ = left_at_once ? first_[0] : median(first_);
    }
  }
  if (first_.size() > kEarly && early_ && !is_far_from_start(record.loss, *early_)) early_.reset();
  std::optional<Divergence> sign = loss_sign();
  if (losses_.size() == kLosses) level_ = level_ ? std::min(*level_, median(losses_)) : median(losses_);
  if (!sign) sign = beginning_sign();
  return sign ? sign : gradient_sign();
}

std::optional<Divergence> DivergenceWatch::loss_sign() {
  if (losses_.size() < kLosses || !start()) return std::nullopt;
  const double least = lowest(losses_, 0);
  const bool from_start = early_ ? is_far_from_level(least, *early_) : is_far_from_start(least, *start());
  const bool from_level = level_ && is_far_from_level(least, *level_);
  if ((!from_start && !from_level) || least < 2 * warned_loss_) return std::nullopt;
  warned_loss_ = least;
  return Divergence{
      fmt::format("the loss was {:.4f} at the least in {} iterations, {:.4f} {}", least, kLosses,
                  from_start ? *start() : *level_, from_start ? "at the start" : "before"),
      iteration_ - int64_t(kLosses)};
}

std::optional<Divergence> DivergenceWatch::beginning_sign() {
  constexpr int64_t kLast = 5, kBeginning = 20;
  constexpr double kEasy = 2;  // nats
  if (n_ < kLast || n_ > kBeginning || warned_loss_ > 0 || first_[0] <= kEasy) return std::nullopt;
  const double mean = std::accumulate(losses_.end() - kLast, losses_.end(), 0.0) / double(kLast);
  const double norm = *std::max_element(norms_.end() - kLast, norms_.end());
  if (mean <= 1.2 * first_[0] || norm <= 12 * first_norm_) return std::nullopt;
  warned_loss_ = mean;
  return Divergence{
      fmt::format("the loss was {:.4f} in the mean of {} iterations and the gradient's norm up to "
                  "{:.4g}, {:.4f} and {:.4g} at the start",
                  mean, kLast, norm, first_[0], first_norm_),
      iteration_ - kLast};
}

std::optional<Divergence> DivergenceWatch::gradient_sign() {
  if (warned_gradient_ || norms_.size() < kLeastNorms + kLastNorms || !start()) return std::nullopt;
  const auto last = norms_.end() - std::ptrdiff_t(kLastNorms);
  const double before = median(std::vector<double>(norms_.begin(), last));
  const double least = *std::min_element(last, norms_.end());
  if (least <= 20 * before || median(losses_) < *start() / 2) return std::nullopt;
  warned_gradient_ = true;
  return Divergence{fmt::format("the gradient's norm was {:.4g} at the least in {} iterations, {:.4g} before",
                                least, kLastNorms, before),
                    iteration_ - int64_t(kLastNorms)};
}

std::string ways_out_of_divergence(const FinetuneOptions& options, int64_t n_iter) {
  if (options.optimizer == Optimizer::lbfgs) return "--use-adam";
  std::string ways = fmt::format("--adam-alpha {:.2g}", options.adam_alpha / 3);
  if (options.adam_gclip <= 0) ways += " --adam-gclip 1";
  if (schedule_steps(options, n_iter).warmup < n_iter / 20) ways += " --warmup 5%";
  return ways;
}

}  // namespace lora
