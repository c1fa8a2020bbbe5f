#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/attention/attention_cases.h"
#include "kernels/isa.h"
#include "kernels/rope/rope_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace attention_test {

using namespace attention_test;
using test::kEpsilon, test::Misaligned, test::numbers, test::zeros;

// Lengths around the tiles (96) and micro-tiles, heads of all usual sizes
// and odd ones, keys of the past, gaps between segments, and few queries.
const Case kCases[] = {
    {"one token", 1, 1, 8, packed({1})},
    {"odd sizes", 3, 1, 5, packed({7, 1, 33, 2})},
    {"head_dim 1", 2, 2, 1, packed({40})},
    {"head_dim 32, tile edges", 2, 1, 32, packed({31, 32, 33, 95, 96, 97})},
    {"head_dim 64", 4, 2, 64, packed({191, 192, 193, 8, 9})},
    {"head_dim 80", 2, 2, 80, packed({100})},
    {"head_dim 96", 2, 1, 96, packed({70})},
    {"head_dim 100", 3, 3, 100, packed({66})},
    {"head_dim 128, group of 8", 8, 1, 128, packed({90})},
    {"head_dim 131", 1, 1, 131, packed({50})},
    {"no queries", 2, 1, 16, {{0, 0, 0, 5}, {0, 3, 5, 3}}},
    {"generation", 4, 2, 64, {{0, 1, 0, 1}, {1, 1, 10, 200}, {2, 1, 300, 65}, {3, 3, 400, 70}}},
    {"prompt with a past", 2, 1, 24, {{2, 45, 3, 130}, {50, 8, 140, 64}}},
    {"past of whole tiles", 2, 2, 24, {{0, 100, 0, 292}, {100, 5, 292, 197}}},
    // Values of another size than keys: narrower as in latent attention, wider, and odd ones.
    {"192 and 128", 4, 4, 192, packed({97, 30, 1}), 128},
    {"24 and 16", 4, 2, 24, packed({191, 5}), 16},
    {"5 and 33", 3, 1, 5, packed({7, 100, 2}), 33},
    {"33 and 1", 2, 2, 33, packed({40}), 1},
    {"16 and 131, past", 4, 2, 16, {{0, 45, 3, 130}, {50, 2, 140, 64}, {52, 1, 210, 97}}, 131},
    {"576 and 512, one key head", 6, 1, 576, {{0, 1, 0, 130}, {1, 3, 130, 70}, {4, 20, 200, 60}}, 512},
};

class AttentionInputs : public testing::TestWithParam<GemmInput> {};
INSTANTIATE_TEST_SUITE_P(Inputs, AttentionInputs, testing::ValuesIn(kInputs),
                         [](const auto& at) { return at.param == GemmInput::f32 ? "f32" : "bf16"; });

TEST_P(AttentionInputs, ForwardMatchesReference) {
  const GemmInput input = GetParam();
  ThreadPool pool(2);
  for (const Case& c : kCases) {
    const Problem p(c);
    Misaligned q(numbers(p.q_size, 1, kRange)), k(numbers(p.kv_size, 2, kRange)), v(numbers(p.v_size, 3));
    Misaligned out(numbers(p.out_size, 4)), lse(numbers(p.n_tokens * c.n_head, 5));
    forward(out.data(), lse.data(), q.data(), k.data(), v.data(), c.segments, p.shape, pool, input);

    // What no segment covers keeps the numbers it had.
    auto want = numbers<double>(p.out_size, 4), want_lse = numbers<double>(p.n_tokens * c.n_head, 5);
    reference_forward(want, want_lse, numbers<double>(p.q_size, 1, kRange),
                      numbers<double>(p.kv_size, 2, kRange), numbers<double>(p.v_size, 3), c.segments,
                      p.shape);
    const double error = score_error(p.shape, input);  // values are below 1, so out moves by no more
    test::expect_close(
        out, want, [&](int64_t) { return error; }, std::string(c.name) + ": out");
    test::expect_close(
        lse, want_lse, [&](int64_t i) { return error + kEpsilon * std::abs(want_lse[size_t(i)]); },
        std::string(c.name) + ": lse");
    EXPECT_TRUE(out.guards_intact() && lse.guards_intact()) << c.name;

    auto without = numbers(p.out_size, 4);
    forward(without.data(), nullptr, q.data(), k.data(), v.data(), c.segments, p.shape, pool, input);
    test::expect_close(
        without, want, [&](int64_t) { return error; }, std::string(c.name) + ": out without lse");
  }
}

TEST_P(AttentionInputs, BackwardMatchesReference) {
  const GemmInput input = GetParam();
  ThreadPool pool(2);
  for (const Case& c : kCases) {
    const Problem p(c);
    Misaligned q(numbers(p.q_size, 1, kRange)), k(numbers(p.kv_size, 2, kRange)), v(numbers(p.v_size, 3));
    Misaligned dout(numbers(p.out_size, 6)), out(zeros(p.out_size)), lse(zeros(p.n_tokens * c.n_head));
    Misaligned dq(numbers(p.q_size, 7)), dk(numbers(p.kv_size, 8)), dv(numbers(p.v_size, 9));
    forward(out.data(), lse.data(), q.data(), k.data(), v.data(), c.segments, p.shape, pool, input);
    backward(dq.data(), dk.data(), dv.data(), dout.data(), out.data(), lse.data(), q.data(), k.data(),
             v.data(), c.segments, p.shape, pool, input);

    const auto q64 = numbers<double>(p.q_size, 1, kRange), k64 = numbers<double>(p.kv_size, 2, kRange);
    const auto v64 = numbers<double>(p.v_size, 3), dout64 = numbers<double>(p.out_size, 6);
    auto want_out = zeros<double>(p.out_size), want_lse = zeros<double>(p.n_tokens * c.n_head);
    auto want_dq = numbers<double>(p.q_size, 7), want_dk = numbers<double>(p.kv_size, 8);
    auto want_dv = numbers<double>(p.v_size, 9);
    reference_forward(want_out, want_lse, q64, k64, v64, c.segments, p.shape);
    reference_backward(want_dq, want_dk, want_dv, dout64, want_out, want_lse, q64, k64, v64, c.segments,
                       p.shape);

    // A probability's relative error times the sums of |p| |dp| |k| and the like: probabilities of one query
    // sum to 1, |dp| and delta stay below v_dim, and a key is seen by at most all queries of its group.
    const double error = 2 * score_error(p.shape, input), dim = double(p.shape.v_dim()),
                 scale = double(p.shape.scale);
    int64_t longest = 0;
    for (const AttentionSegment& s : c.segments) longest = std::max(longest, s.n_q);
    const double seen_by = std::sqrt(double(longest * c.n_head / c.n_head_kv));  // errors are independent
    const double dp = 2 * std::sqrt(dim);                                        // of independent signs too
    test::expect_close(
        dq, want_dq, [&](int64_t) { return error * scale * dp * kRange + kEpsilon; },
        std::string(c.name) + ": dq");
    test::expect_close(
        dk, want_dk, [&](int64_t) { return error * scale * dp * kRange * seen_by + kEpsilon; },
        std::string(c.name) + ": dk");
    test::expect_close(
        dv, want_dv, [&](int64_t) { return error * seen_by + kEpsilon; }, std::string(c.name) + ": dv");
    EXPECT_TRUE(dq.guards_intact() && dk.guards_intact() && dv.guards_intact()) << c.name;
  }
}

// Rotary embedding and attention together, two segments, two query heads a key head, and a past: the gradient
// of q and k before the turn is the turn back of attention's gradient.
TEST(Attention, BackwardIsTheDerivativeThroughRope) {
  const AttentionShape shape{4, 2, 6, 0.7f};
  const Segments segments = {{0, 5, 0, 5}, {5, 3, 5, 6}};
  const std::vector<int32_t> q_positions = {0, 1, 2, 3, 4, 3, 4, 5},
                             k_positions = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5};
  const int64_t n_q = 8, n_kv = 11;
  const RopeTable table = make_rope_table({.n_rot = 4, .freq_base = 100}, 6);
  const std::vector<double> cos(table.cos.data(), table.cos.data() + table.cos.size());
  const std::vector<double> sin(table.sin.data(), table.sin.data() + table.sin.size());
  for (RopeStyle style : {RopeStyle::interleaved, RopeStyle::halves}) {
    const auto turn = [&](std::vector<double> x, const std::vector<int32_t>& positions, bool inverse) {
      const auto n = int64_t(positions.size());
      rope_apply_reference(x.data(), positions.data(), n, int64_t(x.size()) / n / shape.head_dim,
                           shape.head_dim, cos.data(), sin.data(), table.n_rot, style, inverse);
      return x;
    };
    auto q = numbers<double>(n_q * 24, 1), k = numbers<double>(n_kv * 12, 2),
         v = numbers<double>(n_kv * 12, 3);
    const auto dout = numbers<double>(n_q * 24, 4);
    auto out = zeros<double>(n_q * 24), lse = zeros<double>(n_q * 4);
    const auto loss = [&] {
      reference_forward(out, lse, turn(q, q_positions, false), turn(k, k_positions, false), v, segments,
                        shape);
      return test::dot(out, dout);
    };
    loss();
    auto dq = zeros<double>(n_q * 24), dk = zeros<double>(n_kv * 12), dv = dk;
    reference_backward(dq, dk, dv, dout, out, lse, turn(q, q_positions, false), turn(k, k_positions, false),
                       v, segments, shape);
    test::expect_gradient(loss, q, turn(dq, q_positions, true), "q");
    test::expect_gradient(loss, k, turn(dk, k_positions, true), "k");
    test::expect_gradient(loss, v, dv, "v");
  }
}

TEST_P(AttentionInputs, SameBitsForAnyThreadCount) {
  for (const int64_t value_dim : {0, 24, 56}) {
    const Case c{"", 6, 2, 40, packed({350}), value_dim};
    const Problem p(c);
    const auto q = numbers(p.q_size, 1), k = numbers(p.kv_size, 2), v = numbers(p.v_size, 3),
               dout = numbers(p.out_size, 4);
    std::vector<std::vector<float>> results;
    for (int threads : {1, 2, 5}) {
      ThreadPool pool(threads);
      auto out = zeros(p.out_size), lse = zeros(p.n_tokens * 6), dq = zeros(p.q_size), dk = zeros(p.kv_size),
           dv = zeros(p.v_size);
      forward(out.data(), lse.data(), q.data(), k.data(), v.data(), c.segments, p.shape, pool, GetParam());
      backward(dq.data(), dk.data(), dv.data(), dout.data(), out.data(), lse.data(), q.data(), k.data(),
               v.data(), c.segments, p.shape, pool, GetParam());
      for (const auto& part : {lse, dq, dk, dv}) out.insert(out.end(), part.begin(), part.end());
      results.push_back(out);
    }
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
  }
}

// A segment's numbers depend on nothing outside it: alone or among others, the same bits.
TEST(Attention, SegmentsDoNotSeeEachOther) {
  ThreadPool pool(1);
  const AttentionShape shape{2, 1, 16, 0.25f};
  const int64_t n = 120, first = 50;
  const auto q = numbers(n * 32, 1, 3), k = numbers(n * 16, 2, 3), v = numbers(n * 16, 3);
  auto together = zeros(n * 32), alone = zeros(n * 32);
  forward(together.data(), nullptr, q.data(), k.data(), v.data(), packed({first, n - first}), shape, pool);
  forward(alone.data(), nullptr, q.data(), k.data(), v.data(), Segments{{first, n - first, first, n - first}},
          shape, pool);
  EXPECT_TRUE(std::equal(alone.begin() + first * 32, alone.end(), together.begin() + first * 32));
}

// Scores so far apart that the first keys' weight vanishes when later tiles arrive, and scores that all
// overflow exp() without the running maximum.
TEST(Attention, RunningMaximumKeepsLargeScoresFinite) {
  ThreadPool pool(1);
  const AttentionShape shape{1, 1, 2, 1};
  const int64_t n = 200;
  auto q = zeros(n * 2), k = zeros(n * 2), v = zeros(n * 2), out = zeros(n * 2), lse = zeros(n);
  for (int64_t i = 0; i < n; ++i) {
    q[size_t(2 * i)] = 1;
    k[size_t(2 * i)] = 50.0f * float(i);
    v[size_t(2 * i)] = float(i);
  }
  forward(out.data(), lse.data(), q.data(), k.data(), v.data(), packed({n}), shape, pool);
  for (int64_t i = 0; i < n; ++i) {
    EXPECT_FLOAT_EQ(out[size_t(2 * i)], float(i));  // its own key, the largest it sees
    EXPECT_FLOAT_EQ(lse[size_t(i)], 50.0f * float(i));
  }
}

TEST(Attention, BrokenInputReachesTheOutput) {
  ThreadPool pool(1);
  const AttentionShape shape{1, 1, 20, 0.2f};
  for (int64_t n : {3, 100}) {  // few queries, and tiles
    auto q = numbers(n * 20, 1), k = numbers(n * 20, 2), v = numbers(n * 20, 3), out = zeros(n * 20);
    k[size_t(1 * 20 + 7)] = std::numeric_limits<float>::quiet_NaN();
    forward(out.data(), nullptr, q.data(), k.data(), v.data(), packed({n}), shape, pool);
    EXPECT_FALSE(std::isnan(out[5])) << n;  // query 0 does not see key 1
    EXPECT_TRUE(std::isnan(out[size_t(2 * 20 + 5)])) << n;
    EXPECT_TRUE(std::isnan(out[size_t((n - 1) * 20 + 5)])) << n;
  }
}

// The derivative's sums may take the place of the output.
TEST(Attention, GradientOfQueriesMayOverwriteTheOutput) {
  ThreadPool pool(3);
  const AttentionShape shape{2, 1, 20, 0.3f};
  const Segments segments = packed({150});
  const auto q = numbers(150 * 40, 1), k = numbers(150 * 20, 2), v = numbers(150 * 20, 3),
             dout = numbers(150 * 40, 4);
  auto out = zeros(150 * 40), lse = zeros(300), dq = out, dk = zeros(150 * 20), dv = dk;
  forward(out.data(), lse.data(), q.data(), k.data(), v.data(), segments, shape, pool);
  backward(dq.data(), dk.data(), dv.data(), dout.data(), out.data(), lse.data(), q.data(), k.data(), v.data(),
           segments, shape, pool);
  const auto want_dk = dk;
  backward(out.data(), dk.data(), dv.data(), dout.data(), out.data(), lse.data(), q.data(), k.data(),
           v.data(), segments, shape, pool);
  EXPECT_EQ(out, dq);
  EXPECT_EQ(dk, want_dk);
}

TEST(Attention, ScratchGrowsWithOneHeadOfTheContext) {
  const AttentionShape shape{32, 8, 128, 1};
  for (GemmInput input : kInputs) {
    for (bool backward : {false, true}) {
      const auto bytes = [&](int64_t n_kv) {
        return attention_scratch_bytes(shape, n_kv, backward, input, 1);
      };
      // Keys and values as operands and, going back, one more form and two sums: 4 bytes at most each.
      EXPECT_LE(bytes(96 * 101) - bytes(96), 9600 * 128 * 4 * (backward ? 5 : 2));
    }
  }
}

TEST(Attention, TooSmallAScratchIsAnError) {
  if (isa() == Isa::scalar) GTEST_SKIP() << "the plain loops need none";
  ThreadPool pool(1);
  const AttentionShape shape{1, 1, 4, 1};
  const Segments segments = packed({5});
  std::vector<float> x(20), lse(5);
  EXPECT_THROW(attention_forward(x.data(), lse.data(), x.data(), x.data(), x.data(), segments, shape,
                                 GemmInput::f32, {}, pool),
               Error);
}

}  // namespace attention_test
}  // namespace lora
