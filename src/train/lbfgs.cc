#include "train/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace lora {
namespace {

constexpr double kDecrease = 1e-4, kCurvature = 0.9;  // of the Wolfe conditions
constexpr int kMaxTrials = 20;

}  // namespace

Lbfgs::Lbfgs(LoraParameters& parameters, LbfgsHistory& history, ThreadPool& pool)
    : p_(parameters),
      history_(history),
      pool_(pool),
      n_(parameters.values.size()),
      start_{Buffer<float>(n_), Buffer<float>(n_)},
      direction_(n_) {}

// Blocks of fixed size, each with eight sums side by side, added in order.
double Lbfgs::dot(const float* a, const float* b) const {
  constexpr int64_t block = 1 << 14;
  std::vector<double> sums(size_t((n_ + block - 1) / block));
  pool_.run(int64_t(sums.size()), [&](int64_t task, int) {
    const int64_t begin = task * block, end = std::min(n_, begin + block);
    double lanes[8] = {};
    int64_t i = begin;
    for (; i + 8 <= end; i += 8) {
      for (int64_t k = 0; k < 8; ++k) lanes[k] += double(a[i + k]) * double(b[i + k]);
    }
    for (; i < end; ++i) lanes[0] += double(a[i]) * double(b[i]);
    double sum = 0;
    for (double lane : lanes) sum += lane;
    sums[size_t(task)] = sum;
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

void Lbfgs::find_direction() {
  float* d = direction_.data();
  const auto add = [&](double factor, const float* v) {
    pool_.for_range(n_, 1 << 14, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) d[i] += float(factor) * v[i];
    });
  };
  const auto scale = [&](double factor) {
    for (int64_t i = 0; i < n_; ++i) d[i] *= float(factor);
  };
  std::copy_n(p_.gradients.data(), n_, d);
  scale(-1);
  auto& pairs = history_.pairs;
  std::vector<double> sy(pairs.size()), alpha(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    sy[i] = dot(pairs[i].s.data(), pairs[i].y.data());
    alpha[i] = dot(pairs[i].s.data(), d) / sy[i];
    add(-alpha[i], pairs[i].y.data());
  }
  if (!pairs.empty()) scale(sy.back() / dot(pairs.back().y.data(), pairs.back().y.data()));
  for (size_t i = 0; i < pairs.size(); ++i) {
    const double beta = dot(pairs[i].y.data(), d) / sy[i];
    add(alpha[i] - beta, pairs[i].s.data());
  }
}

void Lbfgs::set_values(double t) {
  const float *x = start_.s.data(), *d = direction_.data();
  pool_.for_range(n_, 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) p_.values[i] = x[i] + float(t) * d[i];
  });
}

// Turns what the step began with into the pair of this step; the oldest pair gives its memory for the next.
void Lbfgs::keep_pair() {
  float *s = start_.s.data(), *y = start_.y.data();
  pool_.for_range(n_, 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      s[i] = p_.values[i] - s[i];
      y[i] = p_.gradients[i] - y[i];
    }
  });
  if (!(dot(s, y) > 1e-6 * std::sqrt(dot(s, s) * dot(y, y)))) return;
  auto& pairs = history_.pairs;
  if (pairs.size() == kLbfgsPairs) {
    std::swap(start_, pairs.front());
    std::rotate(pairs.begin(), pairs.begin() + 1, pairs.end());
  } else {
    pairs.push_back(std::move(start_));
    start_ = {Buffer<float>(n_), Buffer<float>(n_)};
  }
}

Lbfgs::Outcome Lbfgs::step(double loss, const Evaluate& evaluate) {
  std::copy_n(p_.values.data(), n_, start_.s.data());
  std::copy_n(p_.gradients.data(), n_, start_.y.data());
  find_direction();
  double slope = dot(direction_.data(), start_.y.data());
  if (!(slope < 0)) {  // rounding, or pairs of other samples: begin anew
    history_.pairs.clear();
    find_direction();
    slope = dot(direction_.data(), start_.y.data());
  }
  if (!(slope < 0)) return {};  // no gradient: nothing to gain

  double t = history_.pairs.empty() ? std::min(1.0, 1 / std::sqrt(-slope)) : 1;
  double low = 0, high = std::numeric_limits<double>::infinity();
  for (int trial = 0; trial <= kMaxTrials; ++trial) {
    if (trial == kMaxTrials) t = low;  // at least it is lower than the start
    if (t == 0) break;
    set_values(t);
    const std::optional<double> f = evaluate();
    if (!f) {
      std::copy_n(start_.s.data(), n_, p_.values.data());
      return {0, true};
    }
    if (!(*f <= loss + kDecrease * t * slope)) {
      // Not a number counts as too far. From the start, the parabola's minimum says where to look next.
      high = t;
      const double guess = -slope * t * t / (2 * (*f - loss - slope * t));
      t = low > 0 ? (low + high) / 2 : std::isfinite(guess) ? std::clamp(guess, 0.1 * t, 0.5 * t) : 0.1 * t;
    } else if (trial < kMaxTrials && dot(p_.gradients.data(), direction_.data()) < kCurvature * slope) {
      low = t;
      t = std::isfinite(high) ? (low + high) / 2 : 2 * t;
    } else {
      keep_pair();
      return {t, false};
    }
  }
  std::copy_n(start_.s.data(), n_, p_.values.data());
  history_.pairs.clear();
  return {};
}

}  // namespace lora
