#include "kernels/delta_rule/delta_rule.h"

#include <gtest/gtest.h>

#include "base/buffer.h"
#include "base/error.h"
#include "kernels/delta_rule/delta_rule_reference.h"
#include "kernels/isa.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace delta_rule_test {

using test::kEpsilon, test::numbers, test::zeros;
using Segments = std::vector<AttentionSegment>;

struct Case {
  const char* name;
  DeltaRuleShape shape;
  std::vector<int64_t> lengths;  // of segments, one behind the other; negative: a gap
  double least_gate = -0.5;      // g lies between that and 0
  double beta = -1;              // of all tokens; below 0: anything from 0 to 1
};

const Case kCases[] = {
    {"one token", {1, 1, 8, 8}, {1}},
    {"odd sizes", {1, 3, 5, 7}, {9, 1, -3, 33, 2}},
    {"dims of 1", {2, 2, 1, 1}, {70}},
    {"chunk borders", {2, 4, 16, 12, true}, {63, 64, 65, 127, 128, 129}},
    {"span borders", {1, 2, 8, 24}, {-5, 255, 256, 257, 513}},
    {"long", {1, 1, 16, 16}, {1100}},
    {"three of a group, in turn", {2, 6, 20, 33, true}, {100, -1, 66}},
    {"heads of 128", {1, 2, 128, 128}, {150}},
    {"wide values", {1, 1, 24, 130}, {90}},
    {"gates that forget all", {2, 2, 16, 16}, {150, 70}, -300},
    {"gates beyond all exponents", {1, 2, 16, 16, true}, {150}, -1e5},
    {"gates that keep all", {1, 1, 16, 16}, {300}, 0},
    {"beta 0", {1, 2, 16, 16}, {130}, -0.5, 0},
    {"beta near 1", {1, 2, 16, 16}, {130}, -0.01, 0.99999},
    {"beta 1, nothing forgotten", {1, 1, 32, 8}, {200}, 0, 1},
};

Segments segments_of(const Case& c) {
  Segments result;
  int64_t begin = 0;
  for (const int64_t n : c.lengths) {
    if (n > 0) result.push_back({begin, n, begin, n});
    begin += std::abs(n);
  }
  return result;
}

// q, k and v side by side, gates, and the gradient of what comes out.
template <class T>
struct Problem {
  explicit Problem(const Case& c) : shape(c.shape), segments(segments_of(c)) {
    for (const int64_t n : c.lengths) n_tokens += std::abs(n);
    row = 2 * shape.n_head_k * shape.dim_k + shape.n_head_v * shape.dim_v;
    qkv = numbers<T>(n_tokens * row, 1);
    g = numbers<T>(n_tokens * shape.n_head_v, 2, 0.5);
    for (T& value : g) {
      value = T(float(c.least_gate * (double(value) + 0.5)));
      if (c.least_gate < -100 && value > T(c.least_gate / 2)) value /= T(-c.least_gate * 20);  // both kinds
    }
    beta = numbers<T>(n_tokens * shape.n_head_v, 3, 0.5);
    for (T& value : beta) value = c.beta < 0 ? value + T(0.5) : T(float(c.beta));
    dout = numbers<T>(n_tokens * shape.n_head_v * shape.dim_v, 4);
    shape.scale = float(1 / std::sqrt(double(shape.dim_k)));
  }
  DeltaRuleRows<T> in() const {
    const T* v = qkv.data() + 2 * shape.n_head_k * shape.dim_k;
    return {qkv.data(), qkv.data() + shape.n_head_k * shape.dim_k, v, row, g.data(), beta.data()};
  }
  DeltaRuleGradients<T> gradients(T* dqkv, T* dg, T* dbeta) const {
    T* dk = dqkv + shape.n_head_k * shape.dim_k;
    return {dqkv, dk, dk + shape.n_head_k * shape.dim_k, dg, dbeta};
  }
  int64_t n_out() const { return n_tokens * shape.n_head_v * shape.dim_v; }
  int64_t n_gates() const { return n_tokens * shape.n_head_v; }

  DeltaRuleShape shape;
  Segments segments;
  int64_t n_tokens = 0, row = 0;
  std::vector<T> qkv, g, beta, dout;
};

void reference_forward(double* out, const Problem<double>& p) {
  for (const AttentionSegment& s : p.segments) {
    for (int64_t head = 0; head < p.shape.n_head_k; ++head) {
      auto states = zeros<double>(p.shape.group() * p.shape.state_size());
      delta_rule_forward_reference(out, states.data(), p.in(), p.shape, head, s.q_begin, s.n_q);
    }
  }
}
void reference_backward(const DeltaRuleGradients<double>& to, const Problem<double>& p) {
  for (const AttentionSegment& s : p.segments) {
    for (int64_t head = 0; head < p.shape.n_head_k; ++head) {
      delta_rule_backward_reference(to, p.dout.data(), p.in(), p.shape, head, s.q_begin, s.n_q);
    }
  }
}

// Filled with numbers that must not reach any result.
Buffer<std::byte> scratch_for(const DeltaRuleShape& shape, bool backward, const ThreadPool& pool) {
  Buffer<std::byte> result(delta_rule_scratch_bytes(shape, backward, pool.size()));
  std::fill(result.data(), result.data() + result.size(), std::byte{0xff});  // NaN
  return result;
}

std::vector<float> forward(const Problem<float>& p, ThreadPool& pool, std::vector<float>* kept = nullptr) {
  auto scratch = scratch_for(p.shape, false, pool);
  auto out = numbers(p.n_out(), 5);
  if (kept) kept->assign(size_t(delta_rule_kept_size(p.shape, p.n_tokens)), 1e30f);
  delta_rule_forward(out.data(), kept ? kept->data() : nullptr, p.in(), p.segments, p.shape, scratch.span(),
                     pool);
  return out;
}

struct Gradients {
  std::vector<float> qkv, g, beta;
  bool operator==(const Gradients&) const = default;
};
// In the place of q, k and v.
Gradients backward(Problem<float> p, ThreadPool& pool) {
  std::vector<float> kept;
  const std::vector<float> out = forward(p, pool, &kept);
  Gradients d{{}, numbers(p.n_gates(), 7), numbers(p.n_gates(), 8)};
  auto scratch = scratch_for(p.shape, true, pool);
  delta_rule_backward(p.gradients(p.qkv.data(), d.g.data(), d.beta.data()), p.dout.data(), out.data(),
                      kept.data(), p.in(), p.segments, p.shape, scratch.span(), pool);
  d.qkv = p.qkv;
  return d;
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

// Sums of about dim_k + dim_v + kDeltaChunk products, of which errors are independent; a state holds what
// many tokens added, and errors with it.
double error_of(const Case& c) {
  const DeltaRuleShape& s = c.shape;
  return 32 * kEpsilon * std::sqrt(double(s.dim_k + s.dim_v + kDeltaChunk));
}

TEST(DeltaRule, ForwardMatchesReference) {
  ThreadPool pool(2);
  for (const Case& c : kCases) {
    const Problem<float> p(c);
    const Problem<double> exact(c);
    auto want = numbers<double>(p.n_out(), 5);  // what no segment covers keeps the numbers it had
    reference_forward(want.data(), exact);
    const double error = error_of(c) * std::max(1e-3, largest(want));
    test::expect_close(
        forward(p, pool), want, [&](int64_t) { return error; }, c.name);
  }
}

TEST(DeltaRule, BackwardMatchesReference) {
  ThreadPool pool(2);
  for (const Case& c : kCases) {
    const Problem<double> exact(c);
    auto qkv = exact.qkv;
    auto g = numbers<double>(exact.n_gates(), 7), beta = numbers<double>(exact.n_gates(), 8);
    reference_backward(exact.gradients(qkv.data(), g.data(), beta.data()), exact);
    const Gradients got = backward(Problem<float>(c), pool);
    const auto close = [&](const std::vector<float>& d, const std::vector<double>& want, const char* of) {
      const double error = 4 * error_of(c) * std::max(1e-3, largest(want));
      test::expect_close(
          d, want, [&](int64_t) { return error; }, std::string(c.name) + ": " + of);
    };
    close(got.qkv, qkv, "q, k, v");
    close(got.g, g, "g");
    close(got.beta, beta, "beta");
  }
}

TEST(DeltaRule, ReferenceIsTheDerivative) {
  for (const bool in_turn : {false, true}) {
    const Case c{"", {2, 4, 3, 5, in_turn}, {6, 4}};
    Problem<double> p(c);
    auto dqkv = zeros<double>(int64_t(p.qkv.size())), dg = zeros<double>(p.n_gates()), dbeta = dg;
    reference_backward(p.gradients(dqkv.data(), dg.data(), dbeta.data()), p);
    const auto f = [&] {
      auto out = zeros<double>(p.n_out());
      reference_forward(out.data(), p);
      return test::dot(out, p.dout);
    };
    test::expect_gradient(f, p.qkv, dqkv, "q, k, v");
    test::expect_gradient(f, p.g, dg, "g");
    test::expect_gradient(f, p.beta, dbeta, "beta");
  }
}

TEST(DeltaRule, SegmentsDoNotSeeOneAnother) {
  ThreadPool pool(1);
  const Case both{"", {1, 2, 16, 16}, {70, 90}};
  Problem<float> p(both);
  const auto out = forward(p, pool);
  std::fill_n(p.qkv.begin(), 70 * p.row, 3.0f);
  const auto changed = forward(p, pool);
  const auto second = [&](const std::vector<float>& x) { return std::vector(x.begin() + 70 * 32, x.end()); };
  EXPECT_EQ(second(out), second(changed));
  EXPECT_NE(out, changed);
}

TEST(DeltaRule, SameBitsForAnyNumberOfThreads) {
  const Case c{"", {3, 6, 16, 24, true}, {100, 300, 5}};
  const Problem<float> p(c);
  ThreadPool one(1), many(5);
  EXPECT_EQ(forward(p, one), forward(p, many));
  EXPECT_EQ(backward(p, one), backward(p, many));
}

TEST(DeltaRule, AppendsPiecesOfAnyLength) {
  ThreadPool pool(2);
  for (const bool in_turn : {false, true}) {
    const Case c{"", {2, 6, 12, 20, in_turn}, {300}};
    const Problem<double> exact(c);
    const Problem<float> p(c);
    auto want = zeros<double>(p.n_out());
    reference_forward(want.data(), exact);
    auto states = zeros(p.shape.n_head_v * p.shape.state_size()), out = zeros(p.n_out());
    auto scratch = scratch_for(p.shape, false, pool);
    int64_t begin = 0;
    for (const int64_t n : {1, 1, 7, 8, 64, 65, 1, 130, 23}) {
      const int64_t at = begin * p.row, gate = begin * p.shape.n_head_v;
      const DeltaRuleInput in = p.in(),
                           piece{in.q + at, in.k + at, in.v + at, in.row, in.g + gate, in.beta + gate};
      delta_rule_append(out.data() + gate * p.shape.dim_v, states.data(), piece, n, p.shape, scratch.span(),
                        pool);
      begin += n;
    }
    ASSERT_EQ(begin, p.n_tokens);
    const double error = error_of(c) * largest(want);
    test::expect_close(
        out, want, [&](int64_t) { return error; }, "pieces");
  }
}

TEST(DeltaRule, RefusesTooLittleScratch) {
  ThreadPool pool(1);
  const Problem<float> p({"", {1, 1, 4, 4}, {3}});
  auto out = zeros(p.n_out());
  std::byte one{};
  EXPECT_THROW(delta_rule_forward(out.data(), nullptr, p.in(), p.segments, p.shape, {&one, 1}, pool), Error);
}

}  // namespace delta_rule_test
}  // namespace lora
