#include "generate/sampler.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/elementary.h"
#include "base/error.h"
#include "base/random.h"

namespace lora {

namespace {

struct Candidate {
  Token token;
  float logit;
};

bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

std::vector<float> penalized(const Sampler& sampler, std::span<const float> logits) {
  std::vector<float> result(logits.begin(), logits.end());
  const float penalty = float(sampler.options.repeat_penalty);
  for (Token token : sampler.recent) {
    if (token < 0 || size_t(token) >= result.size()) continue;
    const float l = logits[size_t(token)];  // of the untouched logits: a repeated token counts once
    result[size_t(token)] = l > 0 ? l / penalty : l * penalty;
  }
  return result;
}

// The k likeliest, sorted; all of finite logit if k <= 0. Sorts no more than 2 k at a time: what is not above
// the worst of k better ones is passed over.
std::vector<Candidate> top_k(std::span<const float> logits, int64_t k) {
  const size_t n = k > 0 ? std::min(size_t(k), logits.size()) : logits.size();
  std::vector<Candidate> best;
  best.reserve(std::min(2 * n, logits.size()));
  float passed_over = -std::numeric_limits<float>::infinity();  // the highest of these
  for (size_t i = 0; i < logits.size(); ++i) {
    const float l = logits[i];
    if (l <= passed_over) continue;
    if (!(l <= std::numeric_limits<float>::max())) {
      fail("logits: {} for token {}: the model or an adapter is damaged", l, i);
    }
    best.push_back({Token(i), l});
    if (best.size() == 2 * n) {
      const auto last = best.begin() + std::ptrdiff_t(n - 1);
      std::nth_element(best.begin(), last, best.end(), before);
      passed_over = last->logit;
      best.resize(n);
    }
  }
  if (best.empty()) fail("logits: every token is banned");
  std::sort(best.begin(), best.end(), before);
  best.resize(std::min(n, best.size()));
  return best;
}

// exp((l - l_first) / temp): proportional to the softmax of l / temp.
std::vector<double> weights(const std::vector<Candidate>& sorted, double temp) {
  std::vector<double> w;
  w.reserve(sorted.size());
  for (const Candidate& c : sorted)
    w.push_back(elementary::exp((double(c.logit) - double(sorted[0].logit)) / temp));
  return w;
}

double sum(const std::vector<double>& values) {
  double total = 0;
  for (double v : values) total += v;
  return total;
}

void top_p(std::vector<Candidate>& sorted, double p) {
  if (p >= 1) return;
  const std::vector<double> w = weights(sorted, 1);
  const double enough = p * sum(w);
  double so_far = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    so_far += w[i];
    if (so_far >= enough) {
      sorted.resize(i + 1);
      return;
    }
  }
}

void min_p(std::vector<Candidate>& sorted, double p) {
  if (p <= 0) return;
  const std::vector<double> w = weights(sorted, 1);  // the first is 1
  size_t n = 1;
  while (n < w.size() && w[n] >= p) ++n;
  sorted.resize(n);
}

}  // namespace

void accept(Sampler& sampler, Token token) {
  sampler.recent.push_back(token);
  if (sampler.recent.size() > kPenaltyWindow) sampler.recent.pop_front();
}

Token sample(Sampler& sampler, std::span<const float> logits) {
  const SamplerOptions& o = sampler.options;
  const bool greedy = o.temp <= 0;  // no filter drops the first
  std::vector<float> changed;
  if (o.repeat_penalty != 1) logits = changed = penalized(sampler, logits);
  std::vector<Candidate> sorted = top_k(logits, greedy ? 1 : o.top_k);
  if (greedy) return sorted[0].token;
  top_p(sorted, o.top_p);
  min_p(sorted, o.min_p);

  const std::vector<double> w = weights(sorted, o.temp);
  const double drawn = double(random_uniform(sampler.seed, Purpose::sampling, 0, sampler.step++)) * sum(w);
  double so_far = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    so_far += w[i];
    if (drawn < so_far) return sorted[i].token;
  }
  return sorted.back().token;
}

}  // namespace lora
