#include "nn/router.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "base/elementary.h"

namespace lora {
namespace {

constexpr float kLeast = -std::numeric_limits<float>::infinity();
constexpr float kLeastSum = 1e-20f;  // so that nothing is divided by 0 where all sigmoids are

void to_probabilities(float* p, int64_t n, Gating gating) {
  if (gating == Gating::sigmoid) {
    for (int64_t e = 0; e < n; ++e) p[e] = 1 / (1 + elementary::exp(-p[e]));
    return;
  }
  float most = kLeast, sum = 0;
  for (int64_t e = 0; e < n; ++e) most = std::max(most, p[e]);
  for (int64_t e = 0; e < n; ++e) sum += p[e] = elementary::exp(p[e] - most);
  for (int64_t e = 0; e < n; ++e) p[e] /= sum;
}

// Leaves only the experts of the best groups.
void keep_best_groups(float* ranked, const RouterForm& form) {
  const int64_t size = form.n_expert / form.n_group;
  std::vector<std::pair<float, int64_t>> groups;
  for (int64_t g = 0; g < form.n_group; ++g) {
    float first = kLeast, second = kLeast;
    for (int64_t e = g * size; e < (g + 1) * size; ++e) {
      if (ranked[e] > first)
        second = std::exchange(first, ranked[e]);
      else
        second = std::max(second, ranked[e]);
    }
    groups.emplace_back(size > 1 && form.n_best_of_group > 1 ? first + second : first, g);
  }
  std::ranges::stable_sort(groups, std::greater(), &std::pair<float, int64_t>::first);
  for (auto at = size_t(form.n_group_used); at < groups.size(); ++at) {
    std::fill_n(ranked + groups[at].second * size, size, kLeast);
  }
}

// The n_used best of a token, ascending.
void choose(int32_t* chosen, float* ranked, const RouterForm& form) {
  if (form.n_group > 1) keep_best_groups(ranked, form);
  int64_t n = 0;  // those so far, the best first
  for (int32_t e = 0; e < form.n_expert; ++e) {
    if (n == form.n_used && !(ranked[e] > ranked[chosen[n - 1]])) continue;
    int64_t at = n < form.n_used ? n++ : n - 1;
    for (; at > 0 && ranked[e] > ranked[chosen[at - 1]]; --at) chosen[at] = chosen[at - 1];
    chosen[at] = e;
  }
  std::sort(chosen, chosen + form.n_used);
}

float chosen_sum(const float* p, const int32_t* chosen, int64_t n_used) {
  float sum = kLeastSum;
  for (int64_t j = 0; j < n_used; ++j) sum += p[chosen[j]];
  return sum;
}

// Of weights, from the sum of the chosen p.
float factor_of(float sum, const RouterForm& form) {
  return form.normalize ? form.scale / sum : form.scale;
}

}  // namespace

Routing take_routing(Arena& arena, const RouterForm& form, int64_t n_tokens) {
  Routing r{};
  r.n_tokens = n_tokens;
  r.n_rows = n_tokens * form.n_used;
  r.scores = arena.take<float>(n_tokens * form.n_expert);
  r.weights = arena.take<float>(r.n_rows);
  r.rows = arena.take<int32_t>(r.n_rows);
  r.tokens = arena.take<int32_t>(r.n_rows);
  r.slots = arena.take<int32_t>(r.n_rows);
  r.begins = arena.take<int32_t>(form.n_expert + 1);
  return r;
}

void route(const Routing& r, const RouterForm& form, const float* choice_bias, ThreadPool& pool,
           const float* expert_scale) {
  const int64_t n_expert = form.n_expert, n_used = form.n_used;
  // `rows` holds the chosen experts until their rows are known.
  pool.for_range(r.n_tokens, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> ranked(static_cast<size_t>(n_expert));
    for (int64_t t = begin; t < end; ++t) {
      float* p = r.scores + t * n_expert;
      to_probabilities(p, n_expert, form.gating);
      for (int64_t e = 0; e < n_expert; ++e) ranked[size_t(e)] = p[e] + (choice_bias ? choice_bias[e] : 0);
      const bool is_finite = std::ranges::all_of(ranked, [](float v) { return std::isfinite(v); });
      int32_t* chosen = r.rows + t * n_used;
      choose(chosen, ranked.data(), form);
      float factor = factor_of(chosen_sum(p, chosen, n_used), form);
      if (!is_finite) factor = std::numeric_limits<float>::quiet_NaN();
      for (int64_t j = 0; j < n_used; ++j) {
        const float of_expert = expert_scale ? expert_scale[chosen[j]] : 1;
        r.weights[t * n_used + j] = p[chosen[j]] * factor * of_expert;
      }
    }
  });
  if (pool.is_dry()) return;
  std::fill_n(r.begins, n_expert + 1, 0);
  for (int64_t slot = 0; slot < r.n_rows; ++slot) ++r.begins[r.rows[slot] + 1];
  for (int64_t e = 0; e < n_expert; ++e) r.begins[e + 1] += r.begins[e];
  for (int64_t slot = 0; slot < r.n_rows; ++slot) {
    const int32_t row = r.begins[r.rows[slot]]++;
    r.rows[slot] = row;
    r.slots[row] = int32_t(slot);
    r.tokens[row] = int32_t(slot / n_used);
  }
  for (int64_t e = n_expert; e > 0; --e) r.begins[e] = r.begins[e - 1];
  r.begins[0] = 0;
}

void route_backward(float* dlogits, const float* dweights, const Routing& r, const RouterForm& form,
                    ThreadPool& pool, const float* expert_scale) {
  const int64_t n_expert = form.n_expert, n_used = form.n_used;
  pool.for_range(r.n_tokens, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> dp(static_cast<size_t>(n_expert));
    for (int64_t t = begin; t < end; ++t) {
      const float* p = r.scores + t * n_expert;
      float* out = dlogits + t * n_expert;
      std::ranges::fill(dp, 0.0f);
      const auto expert = [&](int64_t j) {
        const int32_t row = r.rows[t * n_used + j];
        return std::upper_bound(r.begins, r.begins + n_expert + 1, row) - r.begins - 1;
      };
      const auto dweight = [&](int64_t j, int64_t e) {
        return dweights[t * n_used + j] * (expert_scale ? expert_scale[e] : 1);
      };
      float sum = kLeastSum, mean = 0;
      for (int64_t j = 0; j < n_used; ++j) {
        const int64_t e = expert(j);
        sum += p[e];
        mean += dweight(j, e) * p[e];
      }
      mean = form.normalize ? mean / sum : 0;
      const float factor = factor_of(sum, form);
      float along = 0;
      for (int64_t j = 0; j < n_used; ++j) {
        const int64_t e = expert(j);
        dp[size_t(e)] = factor * (dweight(j, e) - mean);
        along += dp[size_t(e)] * p[e];
      }
      for (int64_t e = 0; e < n_expert; ++e) {
        out[e] = form.gating == Gating::softmax ? p[e] * (dp[size_t(e)] - along)
                                                : dp[size_t(e)] * p[e] * (1 - p[e]);
      }
    }
  });
}

}  // namespace lora
