#include "kernels/rope/rope.h"

#include <gtest/gtest.h>

#include <numbers>

#include "base/error.h"
#include "kernels/rope/rope_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace rope_test {

using test::kEpsilon, test::Misaligned, test::numbers;

std::vector<double> as_double(const Buffer<float>& table) {
  return {table.data(), table.data() + table.size()};
}

// The angle the table turns pair i by at position 1.
double theta(const RopeTable& table, int64_t i) {
  const int64_t at = table.n_rot / 2 + i;
  return std::atan2(double(table.sin[at]), double(table.cos[at]));
}

TEST(RopeTable, PlainAngles) {
  const RopeTable table = make_rope_table({.n_rot = 8, .freq_base = 10000}, 100);
  for (int64_t position : {0, 1, 99}) {
    for (int64_t i = 0; i < 4; ++i) {
      const double angle = double(position) * std::pow(10.0, -double(i));
      EXPECT_NEAR(table.cos[position * 4 + i], std::cos(angle), kEpsilon);
      EXPECT_NEAR(table.sin[position * 4 + i], std::sin(angle), kEpsilon);
    }
  }
}

TEST(RopeTable, LinearScalingStretchesPositions) {
  const RopeTable plain = make_rope_table({.n_rot = 8}, 10);
  const RopeTable scaled = make_rope_table({.n_rot = 8, .freq_scale = 0.25}, 40);
  for (int64_t position = 0; position < 10; ++position) {
    for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(plain.cos[position * 4 + i], scaled.cos[4 * position * 4 + i]);
  }
}

TEST(RopeTable, FrequencyFactorsDivide) {
  const RopeTable table = make_rope_table({.n_rot = 8, .freq_factors = {1, 2, 4, 8}}, 2);
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(theta(table, i), std::pow(10.0, -double(i)) / std::pow(2.0, double(i)), kEpsilon) << i;
  }
}

// With base e^2 and n_rot = 32 pair i turns by e^(-i / 8) a position, and makes e^(-i / 8) * n_ctx_orig / (2
// pi) turns. The betas are chosen to lie at pairs 4.25 and 7.75: the ramp falls from pair 4 to pair 8.
TEST(RopeTable, YarnMixesAlongTheRamp) {
  const double e = std::numbers::e;
  RopeParameters p{.n_rot = 32, .freq_base = e * e, .freq_scale = 0.25, .yarn = true};
  p.n_ctx_orig = 1000;
  const double turns = 1000 / (2 * std::numbers::pi);
  p.yarn_beta_fast = turns * std::exp(-4.25 / 8);
  p.yarn_beta_slow = turns * std::exp(-7.75 / 8);
  const RopeTable table = make_rope_table(p, 2);
  const double magnitude = 1 + 0.1 * std::log(4.0);
  for (int64_t i = 0; i < 16; ++i) {
    const double unscaled = std::exp(-double(i) / 8);
    const double extrapolated = i <= 4 ? 1.0 : i >= 8 ? 0.0 : double(8 - i) / 4;
    EXPECT_NEAR(theta(table, i), unscaled * (extrapolated + 0.25 * (1 - extrapolated)), 2 * kEpsilon) << i;
    EXPECT_NEAR(std::hypot(table.cos[16 + i], table.sin[16 + i]), magnitude, 2 * kEpsilon) << i;
  }
}

// Without YaRN the attention factor alone enlarges (long-context Phi-3).
TEST(RopeTable, AttentionFactorWithoutYarn) {
  const RopeTable table = make_rope_table({.n_rot = 4, .freq_scale = 0.5, .yarn_attn_factor = 1.25}, 3);
  for (int64_t i = 0; i < 6; ++i) EXPECT_NEAR(std::hypot(table.cos[i], table.sin[i]), 1.25, 2 * kEpsilon);
}

TEST(RopeTable, BadParametersAreErrors) {
  EXPECT_THROW(make_rope_table({.n_rot = 7}, 1), Error);
  EXPECT_THROW(make_rope_table({.n_rot = -2}, 1), Error);
  EXPECT_THROW(make_rope_table({.n_rot = 4, .freq_base = 0}, 1), Error);
  EXPECT_THROW(make_rope_table({.n_rot = 4, .freq_scale = -1}, 1), Error);
  EXPECT_THROW(make_rope_table({.n_rot = 4, .freq_factors = {1}}, 1), Error);
  EXPECT_THROW(make_rope_table({.n_rot = 4, .freq_factors = {1, 0}}, 1), Error);
  EXPECT_THROW(make_rope_table({.n_rot = 4, .yarn = true}, 1), Error);
}

class RopeApply : public testing::TestWithParam<RopeStyle> {};
INSTANTIATE_TEST_SUITE_P(Styles, RopeApply, testing::Values(RopeStyle::interleaved, RopeStyle::halves));

// head_dim and n_rot around vector widths and the 64 pairs spread at once; n_rot < head_dim leaves a rest.
TEST_P(RopeApply, MatchesReference) {
  ThreadPool pool(2);
  const int64_t n_tokens = 5, n_head = 3;
  for (auto [head_dim, n_rot] : std::vector<std::pair<int64_t, int64_t>>{{2, 2},
                                                                         {4, 4},
                                                                         {6, 6},
                                                                         {7, 4},
                                                                         {8, 8},
                                                                         {16, 14},
                                                                         {32, 32},
                                                                         {33, 30},
                                                                         {64, 64},
                                                                         {80, 20},
                                                                         {100, 100},
                                                                         {128, 128},
                                                                         {130, 130},
                                                                         {256, 256},
                                                                         {16, 0}}) {
    for (bool inverse : {false, true}) {
      const RopeTable table = make_rope_table({.n_rot = n_rot}, 50);
      const std::vector<int32_t> positions = {0, 49, 7, 7, 31};
      Misaligned x(numbers(n_tokens * n_head * head_dim, 1));
      rope_apply(x.data(), positions.data(), n_tokens, n_head, head_dim, table, GetParam(), inverse, pool);

      auto want = numbers<double>(n_tokens * n_head * head_dim, 1);
      const auto cos = as_double(table.cos), sin = as_double(table.sin);
      rope_apply_reference(want.data(), positions.data(), n_tokens, n_head, head_dim, cos.data(), sin.data(),
                           n_rot, GetParam(), inverse);
      // Two products of numbers up to 1 and their sum.
      test::expect_close(
          x, want, [](int64_t) { return 2 * kEpsilon; }, "head_dim " + std::to_string(head_dim));
      EXPECT_TRUE(x.guards_intact()) << head_dim;
    }
  }
}

TEST_P(RopeApply, InverseTurnsBack) {
  ThreadPool pool(1);
  const RopeTable table = make_rope_table({.n_rot = 60}, 50);
  const std::vector<int32_t> positions = {13, 42};
  const auto before = numbers(2 * 4 * 64, 1);
  auto x = before;
  rope_apply(x.data(), positions.data(), 2, 4, 64, table, GetParam(), false, pool);
  EXPECT_NE(x, before);
  rope_apply(x.data(), positions.data(), 2, 4, 64, table, GetParam(), true, pool);
  test::expect_close(
      x, before, [](int64_t) { return 8 * kEpsilon; }, "there and back");
}

// What attention needs of it: a product of turned vectors depends on their distance alone.
TEST_P(RopeApply, ProductsDependOnDistance) {
  ThreadPool pool(1);
  const RopeTable table = make_rope_table({.n_rot = 64}, 200);
  const auto product = [&](int32_t at_q, int32_t at_k) {
    auto q = numbers(64, 1), k = numbers(64, 2);
    rope_apply(q.data(), &at_q, 1, 1, 64, table, GetParam(), false, pool);
    rope_apply(k.data(), &at_k, 1, 1, 64, table, GetParam(), false, pool);
    return test::dot(q, k);
  };
  EXPECT_NEAR(product(5, 2), product(105, 102), 64 * 4 * kEpsilon);
  EXPECT_GT(std::abs(product(5, 2) - product(5, 3)), 1e-3);
}

TEST_P(RopeApply, BackwardIsTheDerivative) {
  RopeParameters p{.n_rot = 8, .freq_scale = 0.5, .yarn = true};
  p.n_ctx_orig = 64;
  const RopeTable table = make_rope_table(p, 20);
  const auto cos = as_double(table.cos), sin = as_double(table.sin);
  const std::vector<int32_t> positions = {3, 19};
  auto x = numbers<double>(2 * 2 * 10, 1);
  auto dx = numbers<double>(2 * 2 * 10, 2);
  const auto dy = dx;
  const auto loss = [&] {
    auto y = x;
    rope_apply_reference(y.data(), positions.data(), 2, 2, 10, cos.data(), sin.data(), 8, GetParam(), false);
    return test::dot(y, dy);
  };
  rope_apply_reference(dx.data(), positions.data(), 2, 2, 10, cos.data(), sin.data(), 8, GetParam(), true);
  test::expect_gradient(loss, x, dx, "x");
}

}  // namespace rope_test
}  // namespace lora
