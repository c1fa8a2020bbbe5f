#include "nn/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace lora {
namespace router_test {

using testing::ElementsAre;

// Logits of some tokens, routed.
struct Routed {
  Routed(const RouterForm& routed_form, std::vector<float> logits, const float* choice_bias = nullptr,
         int n_threads = 2)
      : form(routed_form), pool(n_threads), arena(1 << 20) {
    routing = take_routing(arena, form, int64_t(logits.size()) / form.n_expert);
    std::ranges::copy(logits, routing.scores);
    route(routing, form, choice_bias, pool);
  }

  std::vector<int32_t> tokens_of(int64_t expert) const {
    return {routing.tokens + routing.begins[expert], routing.tokens + routing.begins[expert + 1]};
  }
  std::vector<float> weights(int64_t token) const {
    const float* w = routing.weights + token * form.n_used;
    return {w, w + form.n_used};
  }

  RouterForm form;
  ThreadPool pool;
  Arena arena;
  Routing routing{};
};

std::vector<float> random_logits(int64_t n, uint64_t seed) {
  std::vector<float> logits(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    logits[size_t(i)] = float(6 * random_uniform(seed, Purpose::test, 1, uint64_t(i)) - 3);
  return logits;
}

TEST(Router, RowsAreByExpertAndTokensInOrder) {
  const Routed r({.n_expert = 4, .n_used = 2}, {5, 1, 4, 0,  //
                                                0, 3, 9, 1,  //
                                                7, 0, 6, 2});
  EXPECT_THAT(r.tokens_of(0), ElementsAre(0, 2));
  EXPECT_THAT(r.tokens_of(1), ElementsAre(1));
  EXPECT_THAT(r.tokens_of(2), ElementsAre(0, 1, 2));
  EXPECT_THAT(r.tokens_of(3), ElementsAre());
  // Weights stand in the order of a token's experts, and rows point back at them.
  for (int64_t row = 0; row < r.routing.n_rows; ++row) {
    const int32_t slot = r.routing.slots[row];
    EXPECT_EQ(slot / 2, r.routing.tokens[row]);
    EXPECT_EQ(r.routing.rows[slot], row);
  }
  const double sum = std::exp(5) + std::exp(1) + std::exp(4) + 1;
  EXPECT_NEAR(r.weights(0)[0], std::exp(5) / sum, 1e-6);
  EXPECT_NEAR(r.weights(0)[1], std::exp(4) / sum, 1e-6);
}

TEST(Router, OfEqualScoresTheFirstExpertsAreChosen) {
  const Routed all({.n_expert = 5, .n_used = 2}, std::vector<float>(10, 0.5f));
  EXPECT_THAT(all.tokens_of(0), ElementsAre(0, 1));
  EXPECT_THAT(all.tokens_of(1), ElementsAre(0, 1));
  const Routed behind({.n_expert = 5, .n_used = 3}, {1, 2, 2, 1, 1});
  EXPECT_THAT(behind.tokens_of(0), ElementsAre(0));
  EXPECT_THAT(behind.tokens_of(3), ElementsAre());
}

TEST(Router, WeightsAreNormalizedAndScaledAsTheFormSays) {
  const std::vector<float> logits = {1, 2, 3};
  const auto weights = [&](const RouterForm& form) { return Routed(form, logits).weights(0); };
  const auto near = [](double want) { return testing::FloatNear(float(want), 1e-6f); };
  const auto s = [](double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_THAT(weights({.n_expert = 3, .n_used = 2, .normalize = true, .scale = 2.5f}),
              ElementsAre(near(2.5 * s(-1)), near(2.5 * s(1))));
  EXPECT_THAT(weights({.n_expert = 3, .n_used = 2, .gating = Gating::sigmoid}),
              ElementsAre(near(s(2)), near(s(3))));
  EXPECT_THAT(weights({.n_expert = 3, .n_used = 2, .gating = Gating::sigmoid, .normalize = true}),
              ElementsAre(near(s(2) / (s(2) + s(3))), near(s(3) / (s(2) + s(3)))));
}

TEST(Router, ABiasChoosesButDoesNotWeigh) {
  const float bias[] = {10, 0, 0};
  const Routed r({.n_expert = 3, .n_used = 1, .gating = Gating::sigmoid}, {-2, 1, 3}, bias);
  EXPECT_THAT(r.tokens_of(0), ElementsAre(0));
  EXPECT_NEAR(r.weights(0)[0], 1 / (1 + std::exp(2.0)), 1e-6);
}

// Groups {0, 1}, {2, 3}, {4, 5}: the best expert is in the last, but the first two sum up higher.
TEST(Router, OnlyTheBestGroupsAreChosenFrom) {
  const Routed r({.n_expert = 6, .n_used = 3, .gating = Gating::sigmoid, .n_group = 3, .n_group_used = 2},
                 {1, 1, 0.5f, 0.6f, 2, -9});
  EXPECT_THAT(r.tokens_of(4), ElementsAre());
  EXPECT_THAT(r.tokens_of(2), ElementsAre());
  for (const int64_t e : {0, 1, 3}) EXPECT_THAT(r.tokens_of(e), ElementsAre(0));
}

// The same where a group is as good as its best expert: the first of equal ones goes before the second.
TEST(Router, AGroupMayCountByItsBestExpert) {
  RouterForm form = {.n_expert = 6, .n_used = 3, .n_group = 3, .n_group_used = 2, .n_best_of_group = 1};
  const Routed r(form, {1, 1, 0.5f, 0.6f, 2, -9});
  for (const int64_t e : {0, 1, 4}) EXPECT_THAT(r.tokens_of(e), ElementsAre(0)) << e;
  const Routed equal(form, {0, 1, 1, 1, 1, 0});
  for (const int64_t e : {1, 2, 3}) EXPECT_THAT(equal.tokens_of(e), ElementsAre(0)) << e;
}

TEST(Router, WhatIsNotFiniteIsNoAnswerAndNoExpertIsChosenTwice) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const Routed r({.n_expert = 3, .n_used = 2}, {nan, 1, 2, nan, nan, nan, inf, inf, 0, -inf, -inf, -inf});
  EXPECT_EQ(r.routing.begins[3], 8);
  for (int64_t t = 0; t < 4; ++t) {
    EXPECT_LT(r.routing.rows[2 * t], r.routing.rows[2 * t + 1]) << t;
    EXPECT_TRUE(std::isnan(r.weights(t)[0]) && std::isnan(r.weights(t)[1])) << t;
  }
  for (const float wrong : {nan, inf, -inf}) {  // also of an expert that is not chosen
    const float bias[] = {0, 0, wrong};
    EXPECT_TRUE(std::isnan(Routed({.n_expert = 3, .n_used = 1}, {5, 1, 1}, bias).weights(0)[0])) << wrong;
  }
}

TEST(Router, SigmoidsThatAreAllZeroAreNotDividedBy) {
  const Routed r({.n_expert = 3, .n_used = 2, .gating = Gating::sigmoid, .normalize = true},
                 {-1e4f, -1e4f, -1e4f});
  EXPECT_EQ(r.weights(0), (std::vector<float>{0, 0}));
}

TEST(Router, ThreadsChangeNothing) {
  const RouterForm form = {.n_expert = 16, .n_used = 4, .normalize = true};
  const std::vector<float> logits = random_logits(16 * 100, 1);
  const Routed one(form, logits, nullptr, 1), four(form, logits, nullptr, 4);
  EXPECT_TRUE(std::equal(one.routing.weights, one.routing.weights + 400, four.routing.weights));
  EXPECT_TRUE(std::equal(one.routing.tokens, one.routing.tokens + 400, four.routing.tokens));
}

// The loss is sum of c_j w_j over a token's chosen experts.
TEST(Router, GradientsAreTheSlopesOfWeights) {
  for (const Gating gating : {Gating::softmax, Gating::sigmoid}) {
    for (const bool normalize : {false, true}) {
      const RouterForm form = {
          .n_expert = 7, .n_used = 3, .gating = gating, .normalize = normalize, .scale = 1.7f};
      const std::vector<float> logits = random_logits(14, 2), c = random_logits(6, 3);
      const auto loss = [&](const std::vector<float>& at) {
        const Routed r(form, at);
        double sum = 0;
        for (int64_t i = 0; i < 6; ++i) sum += double(r.routing.weights[i]) * double(c[size_t(i)]);
        return sum;
      };
      Routed r(form, logits);
      std::vector<float> dlogits(14);
      route_backward(dlogits.data(), c.data(), r.routing, form, r.pool);
      for (size_t i = 0; i < 14; ++i) {
        std::vector<float> above = logits, below = logits;
        above[i] += 1e-2f, below[i] -= 1e-2f;
        EXPECT_NEAR(dlogits[i], (loss(above) - loss(below)) / (double(above[i]) - double(below[i])), 3e-4)
            << i << (normalize ? " normalized" : "");
      }
    }
  }
}

}  // namespace router_test
}  // namespace lora
