// Attention with windows, softcaps and sinks.
#include <gtest/gtest.h>

#include <array>

#include "kernels/attention/attention_cases.h"

namespace lora {
namespace attention_masks_test {

using namespace attention_test;
using test::kEpsilon, test::Misaligned, test::numbers, test::zeros;

class AttentionMasks : public testing::TestWithParam<GemmInput> {};
INSTANTIATE_TEST_SUITE_P(Inputs, AttentionMasks, testing::ValuesIn(kInputs),
                         [](const auto& at) { return at.param == GemmInput::f32 ? "f32" : "bf16"; });

// Below a micro-tile, around a tile of 96, beyond two, and beyond every segment.
const int64_t kWindows[] = {1, 3, 95, 96, 97, 200, 1000};

struct Setting {
  const char* name;
  float softcap;
  bool sinks;
};
const Setting kSettings[] = {
    {"plain", 0, false}, {"softcap", 1.5f, false}, {"sinks", 0, true}, {"softcap and sinks", 1.5f, true}};

const Case kCases[] = {
    {"head_dim 6", 4, 2, 6, packed({250, 1, 97})},
    {"head_dim 64", 2, 1, 64, packed({130, 1, 97})},
    {"head_dim 80", 1, 1, 80, packed({193, 8})},
    {"head_dim 96, past", 1, 1, 96, {{0, 100, 0, 392}, {101, 4, 393, 130}}},
    {"head_dim 128, past", 2, 1, 128, {{1, 30, 3, 230}}},
    {"head_dim 256", 1, 1, 256, packed({130})},
    {"24 and 16", 4, 2, 24, packed({130, 1, 97}), 16},
    {"40 and 72, past", 2, 1, 40, {{0, 100, 0, 392}, {101, 3, 393, 130}}, 72},
    {"few queries", 4, 2, 64, {{0, 1, 0, 1}, {1, 1, 10, 300}, {2, 3, 400, 150}, {5, 2, 600, 97}}},
};

// Every window with every case, and each of them with one of the settings, all of which come up.
template <class F>
void for_each_problem(const F& check) {
  size_t turn = 0;
  for (const Case& c : kCases) {
    for (const int64_t window : kWindows) {
      const Setting& setting = kSettings[turn++ % 4];
      Problem p(c);
      const auto sinks = numbers(c.n_head, 10, 3);
      p.shape.window = window;
      p.shape.softcap = setting.softcap;
      p.shape.sinks = setting.sinks ? sinks.data() : nullptr;
      check(c, p, std::string(c.name) + ", window " + std::to_string(window) + ", " + setting.name);
    }
  }
}

// tanh() is right to 4 epsilon, and times the cap.
double capped_error(const AttentionShape& shape, GemmInput input) {
  return score_error(shape, input) + 8 * kEpsilon * double(shape.softcap);
}

TEST_P(AttentionMasks, ForwardMatchesReference) {
  const GemmInput input = GetParam();
  ThreadPool pool(2);
  for_each_problem([&](const Case& c, const Problem& p, const std::string& what) {
    Misaligned q(numbers(p.q_size, 1, kRange)), k(numbers(p.kv_size, 2, kRange)), v(numbers(p.v_size, 3));
    Misaligned out(numbers(p.out_size, 4)), lse(numbers(p.n_tokens * c.n_head, 5)),
        without(numbers(p.out_size, 4));
    forward(out.data(), lse.data(), q.data(), k.data(), v.data(), c.segments, p.shape, pool, input);
    forward(without.data(), nullptr, q.data(), k.data(), v.data(), c.segments, p.shape, pool, input);

    auto want = numbers<double>(p.out_size, 4), want_lse = numbers<double>(p.n_tokens * c.n_head, 5);
    reference_forward(want, want_lse, numbers<double>(p.q_size, 1, kRange),
                      numbers<double>(p.kv_size, 2, kRange), numbers<double>(p.v_size, 3), c.segments,
                      p.shape);
    const double error = capped_error(p.shape, input);
    const auto tolerance = [&](int64_t) { return error; };
    test::expect_close(out, want, tolerance, what + ": out");
    test::expect_close(without, want, tolerance, what + ": out without lse");
    test::expect_close(
        lse, want_lse, [&](int64_t i) { return error + kEpsilon * std::abs(want_lse[size_t(i)]); },
        what + ": lse");
    EXPECT_TRUE(out.guards_intact() && lse.guards_intact() && without.guards_intact()) << what;
  });
}

TEST_P(AttentionMasks, BackwardMatchesReference) {
  const GemmInput input = GetParam();
  ThreadPool pool(2);
  for_each_problem([&](const Case& c, const Problem& p, const std::string& what) {
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

    // As in attention_test.cc; a cap's slope, 1 - tanh(s / c)^2, is off by 2 / c of what s is off by.
    const double error = 2 * capped_error(p.shape, input), scale = double(p.shape.scale);
    const double slope = p.shape.softcap > 0 ? 1 + 2 / double(p.shape.softcap) : 1;
    int64_t longest = 0;
    for (const AttentionSegment& s : c.segments) longest = std::max(longest, std::min(s.n_q, p.shape.window));
    const double seen_by = std::sqrt(double(longest * c.n_head / c.n_head_kv));
    const double dp = 2 * std::sqrt(double(p.shape.v_dim()));
    test::expect_close(
        dq, want_dq, [&](int64_t) { return error * slope * scale * dp * kRange + kEpsilon; }, what + ": dq");
    test::expect_close(
        dk, want_dk, [&](int64_t) { return error * slope * scale * dp * kRange * seen_by + kEpsilon; },
        what + ": dk");
    test::expect_close(
        dv, want_dv, [&](int64_t) { return error * seen_by + kEpsilon; }, what + ": dv");
    EXPECT_TRUE(dq.guards_intact() && dk.guards_intact() && dv.guards_intact()) << what;
  });
}

TEST(MaskedAttention, BackwardIsTheDerivative) {
  const std::vector<float> sinks = {0.3f, -1, 1.5f, 0};
  for (const int64_t v_dim : {6, 3, 10}) {
    AttentionShape shape{4, 2, 6, 0.7f, 3, 1.25f, sinks.data()};
    shape.value_dim = v_dim;
    const Segments segments = {{0, 7, 0, 7}, {7, 3, 7, 8}};
    const int64_t n_q = 10, n_kv = 15;
    auto q = numbers<double>(n_q * 24, 1), k = numbers<double>(n_kv * 12, 2),
         v = numbers<double>(n_kv * 2 * v_dim, 3);
    const auto dout = numbers<double>(n_q * 4 * v_dim, 4);
    auto out = zeros<double>(n_q * 4 * v_dim), lse = zeros<double>(n_q * 4);
    const auto loss = [&] {
      reference_forward(out, lse, q, k, v, segments, shape);
      return test::dot(out, dout);
    };
    loss();
    auto dq = zeros<double>(n_q * 24), dk = zeros<double>(n_kv * 12), dv = zeros<double>(int64_t(v.size()));
    reference_backward(dq, dk, dv, dout, out, lse, q, k, v, segments, shape);
    test::expect_gradient(loss, q, dq, "q");
    test::expect_gradient(loss, k, dk, "k");
    test::expect_gradient(loss, v, dv, "v");
  }
}

TEST_P(AttentionMasks, SameBitsForAnyThreadCount) {
  const Case c{"", 6, 2, 40, packed({350, 101})};
  Problem p(c);
  const auto sinks = numbers(6, 10);
  p.shape.window = 130;
  p.shape.softcap = 2;
  p.shape.sinks = sinks.data();
  const auto q = numbers(p.q_size, 1), k = numbers(p.kv_size, 2), v = numbers(p.v_size, 3),
             dout = numbers(p.out_size, 4);
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2, 7}) {
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

// No row is masked otherwise, so no bit is another.
TEST_P(AttentionMasks, WindowOfTheWholeSegmentIsNone) {
  const Case c{"", 2, 1, 64, packed({230})};
  Problem p(c);
  const auto q = numbers(p.q_size, 1), k = numbers(p.kv_size, 2), v = numbers(p.v_size, 3),
             dout = numbers(p.out_size, 4);
  ThreadPool pool(1);
  std::vector<std::vector<float>> results;
  for (int64_t window : {0, 230}) {
    p.shape.window = window;
    auto out = zeros(p.out_size), lse = zeros(p.n_tokens * 2), dq = zeros(p.q_size), dk = zeros(p.kv_size),
         dv = zeros(p.v_size);
    forward(out.data(), lse.data(), q.data(), k.data(), v.data(), c.segments, p.shape, pool, GetParam());
    backward(dq.data(), dk.data(), dv.data(), dout.data(), out.data(), lse.data(), q.data(), k.data(),
             v.data(), c.segments, p.shape, pool, GetParam());
    for (const auto& part : {lse, dq, dk, dv}) out.insert(out.end(), part.begin(), part.end());
    results.push_back(out);
  }
  EXPECT_EQ(results[0], results[1]);
}

// A broken key reaches the queries whose windows hold it, and no others.
TEST(MaskedAttention, BrokenKeyStaysInItsWindow) {
  ThreadPool pool(1);
  const int64_t n = 300, window = 20, broken = 107;
  AttentionShape shape{1, 1, 20, 0.2f};
  shape.window = window;
  auto q = numbers(n * 20, 1), k = numbers(n * 20, 2), v = numbers(n * 20, 3), out = zeros(n * 20);
  k[size_t(broken * 20 + 7)] = std::numeric_limits<float>::quiet_NaN();
  const auto expect = [&](int64_t i, bool capped) {
    EXPECT_EQ(std::isnan(out[size_t(i * 20)]), i >= broken && i < broken + window) << i << ' ' << capped;
  };
  for (const float softcap : {0.0f, 5.0f}) {
    shape.softcap = softcap;
    forward(out.data(), nullptr, q.data(), k.data(), v.data(), packed({n}), shape, pool);
    for (int64_t i = 0; i < n; ++i) expect(i, softcap > 0);
    for (int64_t i = 0; i < n; ++i) {  // one query, and its past
      forward(out.data(), nullptr, q.data(), k.data(), v.data(), {{i, 1, 0, i + 1}}, shape, pool);
      expect(i, softcap > 0);
    }
  }
}

// A sink far above all scores takes all the weight; one far below, none.
TEST(MaskedAttention, SinkTakesItsShare) {
  ThreadPool pool(1);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const int64_t n : {2, 120}) {  // few queries, and tiles
    const auto q = numbers(n * 20, 1), k = numbers(n * 20, 2), v = numbers(n * 20, 3);
    auto none = zeros(n * 20), out = none;
    AttentionShape shape{1, 1, 20, 0.2f};
    forward(none.data(), nullptr, q.data(), k.data(), v.data(), packed({n}), shape, pool);
    for (const float sink : {-infinity, -200.0f, 0.0f, 200.0f}) {
      shape.sinks = &sink;
      forward(out.data(), nullptr, q.data(), k.data(), v.data(), packed({n}), shape, pool);
      for (size_t i = 0; i < out.size(); ++i) {
        if (sink == 0) {
          ASSERT_LE(std::abs(out[i]), std::abs(none[i])) << i;
        } else {
          ASSERT_NEAR(out[i], sink < 0 ? none[i] : 0, 4 * kEpsilon) << i << ' ' << sink;
        }
      }
    }
  }
}

// Queries of 1 that see one key each: lse is the score, and with a cap of 1 its tanh.
TEST(MaskedAttention, TanhIsRightOverTheWholeRange) {
  ThreadPool pool(1);
  std::vector<float> x;
  for (float at = 1e-30f; at < 40; at *= 1.003f) x.insert(x.end(), {at, -at});
  x.insert(x.end(), {0, 1e4f, -1e4f, 1e30f, -1e30f});
  const auto n = int64_t(x.size());
  AttentionShape shape{1, 1, 1, 1, 1, 1};
  const std::vector<float> ones(x.size(), 1.0f);
  auto out = zeros(n), lse = zeros(n);
  forward(out.data(), lse.data(), ones.data(), x.data(), ones.data(), packed({n}), shape, pool);
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = std::tanh(double(x[i]));
    ASSERT_NEAR(lse[i], want, 5e-7 * std::abs(want)) << x[i];
  }
}

}  // namespace attention_masks_test
}  // namespace lora
