#include "kernels/ssd/ssd.h"

#include <gtest/gtest.h>

#include "base/buffer.h"
#include "base/error.h"
#include "kernels/isa.h"
#include "kernels/ssd/ssd_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace ssd_test {

using test::cast, test::kEpsilon, test::numbers, test::zeros;

struct Case {
  SsdShape shape;
  int64_t n_tokens;
  double dt = 1;       // steps before the bias: from -dt to dt
  double dt_bias = 0;  // all heads'
};

// Lengths around a chunk and its multiples, odd sizes of heads and states, groups.
const Case kCases[] = {
    {{1, 4, 1, 4}, 1},           {{1, 4, 1, 4}, 2},
    {{2, 7, 1, 5}, 31},          {{3, 16, 1, 33}, 95},
    {{2, 5, 2, 3}, 96},          {{4, 24, 2, 17}, 97},
    {{2, 64, 1, 128}, 130},      {{6, 33, 3, 16}, 193},
    {{21, 8, 7, 9}, 200},        {{1, 129, 1, 70}, 300},
    {{4, 16, 1, 16}, 250, 5, 8}, {{4, 16, 1, 16}, 250, 2, -9},
    {{2, 8, 2, 8}, 200, 40},     {{2, 8, 1, 8}, 110, 1, -200},
};

// Inputs side by side as in a layer: x, B and C in one row, dt among other columns.
template <class T>
struct Problem {
  explicit Problem(const Case& at) : shape(at.shape), n_tokens(at.n_tokens) {
    n_x = shape.n_head * shape.head_dim;
    n_b = shape.n_group * shape.n_state;
    row = n_x + 2 * n_b;
    dt_row = shape.n_head + 3;
    xbc = numbers<T>(n_tokens * row, 1);
    dt = numbers<T>(n_tokens * dt_row, 2, at.dt);
    dy = numbers<T>(n_tokens * n_x, 3);
    a = numbers<T>(shape.n_head, 4);
    for (T& value : a) value = T(-0.05) - 4 * value * value;
    d = numbers<T>(shape.n_head, 5);
    bias = numbers<T>(shape.n_head, 6);
    for (T& value : bias) value += T(at.dt_bias);
    y = zeros<T>(n_tokens * n_x);
    dxbc = zeros<T>(n_tokens * row);
    ddt = zeros<T>(n_tokens * dt_row);
    state = zeros<T>(n_x * shape.n_state);
  }
  template <class U>
  Problem<U> as() const {
    Problem<U> other({shape, n_tokens});
    other.xbc = cast<U>(xbc), other.dt = cast<U>(dt), other.dy = cast<U>(dy);
    other.a = cast<U>(a), other.d = cast<U>(d), other.bias = cast<U>(bias), other.state = cast<U>(state);
    return other;
  }
  SsdInputOf<T> in() const {
    return {xbc.data(), xbc.data() + n_x, xbc.data() + n_x + n_b, row, dt.data() + 1, dt_row};
  }
  SsdGradientOf<T> gradient() {
    return {dxbc.data(), dxbc.data() + n_x, dxbc.data() + n_x + n_b, row, ddt.data() + 1, dt_row};
  }
  SsdHeadsOf<T> heads() const { return {a.data(), d.data(), bias.data()}; }

  SsdShape shape;
  int64_t n_tokens, n_x, n_b, row, dt_row;
  std::vector<T> xbc, dt, dy, a, d, bias, y, dxbc, ddt, state;
};

template <class T>
void reference_forward(Problem<T>& p) {
  for (int64_t h = 0; h < p.shape.n_head; ++h) {
    ssd_forward_reference(p.y.data(), p.in(), p.heads(), p.shape, p.n_tokens, h,
                          p.state.data() + h * p.shape.n_state * p.shape.head_dim);
  }
}
template <class T>
void reference_backward(Problem<T>& p) {
  for (int64_t g = 0; g < p.shape.n_group; ++g)
    ssd_backward_reference(p.gradient(), p.dy.data(), p.in(), p.heads(), p.shape, p.n_tokens, g);
}

// Filled with numbers that must not reach any result.
Buffer<std::byte> scratch_for(const Problem<float>& p, bool backward, GemmInput input,
                              const ThreadPool& pool) {
  Buffer<std::byte> result(ssd_scratch_bytes(p.shape, p.n_tokens, backward, input, pool.size()));
  std::fill(result.data(), result.data() + result.size(), std::byte{0xff});  // NaN
  return result;
}
void forward(Problem<float>& p, float* state, GemmInput input, ThreadPool& pool) {
  auto scratch = scratch_for(p, false, input, pool);
  ssd_forward(p.y.data(), p.in(), p.heads(), p.shape, p.n_tokens, state, input, scratch.span(), pool);
}
void backward(Problem<float>& p, GemmInput input, ThreadPool& pool) {
  auto scratch = scratch_for(p, true, input, pool);
  ssd_backward(p.gradient(), p.dy.data(), p.in(), p.heads(), p.shape, p.n_tokens, input, scratch.span(),
               pool);
}

// The largest of all sums of magnitudes that an element is made of: the same computation with all numbers
// positive bounds it.
double largest(const std::vector<double>& values) {
  double result = 0;
  for (const double v : values) result = std::max(result, std::abs(v));
  return result;
}
struct Bounds {
  double y, state, dx, ddt;
};
Bounds bounds(const Problem<float>& p) {
  Problem<double> positive = p.as<double>();
  for (auto* values : {&positive.xbc, &positive.dy, &positive.d}) {
    for (double& v : *values) v = std::abs(v);
  }
  reference_forward(positive);
  reference_backward(positive);
  // The decay's part of a step's gradient falls with a: the largest of both signs.
  Problem<double> steep = positive;
  double most_a = 0;
  for (double& v : steep.a) most_a = std::max(most_a, -v);
  return {largest(positive.y), largest(positive.state), largest(positive.dxbc),
          largest(positive.ddt) + most_a * largest(positive.state) * largest(positive.dxbc)};
}

// f32: a few roundings of each term and of sums over tokens and states; the exponent's error is that of dt a.
// bf16 rounds every operand of a product to 8 bits, independently.
double share(const Problem<float>& p, GemmInput input) {
  if (input == GemmInput::bf16 && isa() != Isa::scalar) return 3.0 / 256;
  const double most_step = largest(cast<double>(p.dt)) + largest(cast<double>(p.bias));
  return (64 + 16 * most_step) * kEpsilon;
}

class Ssd : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(All, Ssd, testing::ValuesIn(kCases), [](const auto& at) {
  const Case& c = at.param;
  return "n" + std::to_string(c.n_tokens) + "_" + std::to_string(c.shape.n_head) + "x" +
         std::to_string(c.shape.head_dim) + "_" + std::to_string(c.shape.n_group) + "x" +
         std::to_string(c.shape.n_state) + "_" + std::to_string(at.index);
});

TEST_P(Ssd, MatchesReference) {
  ThreadPool pool(2);
  for (const GemmInput input : {GemmInput::f32, GemmInput::bf16}) {
    Problem<float> p(GetParam());
    Problem<double> want = p.as<double>();
    reference_forward(want);
    reference_backward(want);
    forward(p, nullptr, input, pool);
    backward(p, input, pool);
    const Bounds most = bounds(p);
    const double part = share(p, input);
    const auto within = [&](double bound) { return [=](int64_t) { return part * bound + 1e-30; }; };
    test::expect_close(p.y, want.y, within(most.y), "y");
    test::expect_close(p.dxbc, want.dxbc, within(most.dx), "dx, dB, dC");
    test::expect_close(p.ddt, want.ddt, within(most.ddt), "ddt");
  }
}

// From a state in one call, in pieces around a chunk, and token by token.
TEST_P(Ssd, GoesOnFromAState) {
  ThreadPool pool(2);
  const Case at = GetParam();
  for (const GemmInput input : {GemmInput::f32, GemmInput::bf16}) {
    for (const int64_t step : {int64_t{1}, int64_t{5}, int64_t{60}, int64_t{96}, at.n_tokens}) {
      Problem<float> p(at);
      p.state = numbers(int64_t(p.state.size()), 7);
      Problem<double> want = p.as<double>();
      reference_forward(want);
      const Bounds most = bounds(p);
      for (int64_t t = 0; t < at.n_tokens; t += step) {
        Problem<float> piece = p;
        piece.n_tokens = std::min(step, at.n_tokens - t);
        const auto rest = [&](std::vector<float>& v, int64_t row) {
          v.erase(v.begin(), v.begin() + t * row);
        };
        rest(piece.xbc, p.row);
        rest(piece.dt, p.dt_row);
        forward(piece, p.state.data(), input, pool);
        std::copy_n(piece.y.begin(), piece.n_tokens * p.n_x, p.y.begin() + t * p.n_x);
      }
      const double part = share(p, input) * (input == GemmInput::f32 ? 1 : 2);
      test::expect_close(
          p.y, want.y, [&](int64_t) { return part * (most.y + most.state * 40); }, "y");
      test::expect_close(
          p.state, want.state, [&](int64_t) { return part * (most.state + 1); }, "state");
    }
  }
}

TEST(Ssd, GradientsAreDerivatives) {
  for (const Case& at : {Case{{4, 3, 2, 5}, 9}, Case{{2, 4, 1, 3}, 6, 6, 1}}) {
    Problem<double> p(at);
    reference_backward(p);
    const auto loss = [&] {
      std::ranges::fill(p.state, 0.0);
      reference_forward(p);
      return test::dot(p.y, p.dy);
    };
    const std::vector<double> dxbc = p.dxbc, ddt = p.ddt;
    test::expect_gradient(loss, p.xbc, dxbc, "x, B, C");
    test::expect_gradient(loss, p.dt, ddt, "dt");
  }
}

TEST(Ssd, SameBitsForAnyThreads) {
  const Case at{{20, 24, 2, 17}, 301};
  for (const GemmInput input : {GemmInput::f32, GemmInput::bf16}) {
    Problem<float> one(at);
    ThreadPool pool(1);
    forward(one, nullptr, input, pool);
    backward(one, input, pool);
    for (const int n_threads : {2, 5, 19}) {
      Problem<float> many(at);
      ThreadPool threads(n_threads);
      forward(many, nullptr, input, threads);
      backward(many, input, threads);
      EXPECT_EQ(one.y, many.y);
      EXPECT_EQ(one.dxbc, many.dxbc);
      EXPECT_EQ(one.ddt, many.ddt);
    }
  }
}

// One head's states at the borders of chunks and what a group shares, but no state of each token.
TEST(Ssd, ScratchIsASmallMultipleOfTheTokens) {
  const SsdShape shape{48, 64, 1, 128};
  for (const GemmInput input : {GemmInput::f32, GemmInput::bf16}) {
    const auto bytes = [&](int64_t n, bool backward) {
      return ssd_scratch_bytes(shape, n, backward, input, 2);
    };
    EXPECT_LE(bytes(9600 + 96, false) - bytes(96, false), 9600 * 2000);
    EXPECT_LE(bytes(9600 + 96, true) - bytes(96, true), 9600 * 15000);
  }
}

TEST(Ssd, TooSmallAScratchIsAnError) {
  if (isa() == Isa::scalar) GTEST_SKIP() << "the plain loops need none";
  ThreadPool pool(1);
  Problem<float> p(Case{{1, 4, 1, 4}, 5});
  EXPECT_THROW(
      ssd_forward(p.y.data(), p.in(), p.heads(), p.shape, p.n_tokens, nullptr, GemmInput::f32, {}, pool),
      Error);
}

}  // namespace ssd_test
}  // namespace lora
