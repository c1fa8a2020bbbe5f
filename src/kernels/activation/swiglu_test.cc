#include "kernels/activation/swiglu.h"

#include <gtest/gtest.h>

#include "kernels/activation/swiglu_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace {

using test::cast, test::kEpsilon, test::Misaligned, test::numbers, test::zeros;

const int64_t kLengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000};

// Gates from -20 to 20: silu is nearly 0, curved, and nearly the identity. A quotient of exp(), good to 2
// epsilon, then a few products; where 1 + g (1 - s) cancels, the error is relative to |g|.
TEST(Swiglu, MatchesReference) {
  ThreadPool pool(2);
  for (int64_t n : kLengths) {
    Misaligned gate(numbers(n, 1, 20)), up(numbers(n, 2)), dy(numbers(n, 3));
    Misaligned y(zeros(n)), dgate(y), dup(y);
    swiglu_forward(y.data(), gate.data(), up.data(), n, pool);
    swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n, pool);

    const auto g64 = cast<double>(numbers(n, 1, 20)), u64 = numbers<double>(n, 2),
               dy64 = numbers<double>(n, 3);
    auto want = zeros<double>(n), want_dgate = zeros<double>(n), want_dup = zeros<double>(n);
    swiglu_forward_reference(want.data(), g64.data(), u64.data(), n);
    swiglu_backward_reference(want_dgate.data(), want_dup.data(), dy64.data(), g64.data(), u64.data(), n);
    const std::string what = "n " + std::to_string(n);
    const auto silu_error = [&](int64_t i) {
      const double g = g64[size_t(i)];
      return 8 * kEpsilon * std::abs(g / (1 + std::exp(-g)));
    };
    test::expect_close(y, want, silu_error, what + " y");
    test::expect_close(dup, want_dup, silu_error, what + " dup");
    const auto slope_error = [&](int64_t i) {
      const double g = g64[size_t(i)];
      return 8 * kEpsilon * (1 + std::abs(g)) / (1 + std::exp(-g));
    };
    test::expect_close(dgate, want_dgate, slope_error, what + " dgate");
    EXPECT_TRUE(y.guards_intact() && dgate.guards_intact() && dup.guards_intact()) << what;
  }
}

TEST(Swiglu, ExtremeGatesStayFinite) {
  ThreadPool pool(1);
  const std::vector<float> gate = {-1e30f, -1000, -104, -88, -87.4f, 87.4f, 88, 104, 1000, 1e30f};
  const std::vector<float> ones(gate.size(), 1.0f);
  std::vector<float> y(gate.size()), dgate(gate.size()), dup(gate.size());
  swiglu_forward(y.data(), gate.data(), ones.data(), int64_t(gate.size()), pool);
  swiglu_backward(dgate.data(), dup.data(), ones.data(), gate.data(), ones.data(), int64_t(gate.size()),
                  pool);
  for (size_t i = 0; i < gate.size(); ++i) {
    const bool positive = gate[i] > 0;
    EXPECT_NEAR(y[i], positive ? gate[i] : 0, 1e-30) << gate[i];
    EXPECT_NEAR(dup[i], positive ? gate[i] : 0, 1e-30) << gate[i];
    EXPECT_NEAR(dgate[i], positive ? 1 : 0, 1e-30) << gate[i];
  }
}

TEST(Swiglu, NotANumberPassesThrough) {
  ThreadPool pool(1);
  std::vector<float> gate(40, 1.0f), up(40, 1.0f), y(40);
  gate[3] = up[38] = std::numeric_limits<float>::quiet_NaN();
  swiglu_forward(y.data(), gate.data(), up.data(), 40, pool);
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ(std::isnan(y[i]), i == 3 || i == 38) << i;
}

TEST(Swiglu, InPlace) {
  ThreadPool pool(1);
  const int64_t n = 37;
  const auto gate = numbers(n, 1, 4), up = numbers(n, 2), dy = numbers(n, 3);
  auto y = zeros(n), dgate = zeros(n), dup = zeros(n);
  swiglu_forward(y.data(), gate.data(), up.data(), n, pool);
  swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n, pool);

  auto in_gate = gate, in_up = up;
  swiglu_forward(in_gate.data(), in_gate.data(), up.data(), n, pool);
  EXPECT_EQ(in_gate, y);
  swiglu_forward(in_up.data(), gate.data(), in_up.data(), n, pool);
  EXPECT_EQ(in_up, y);
  in_gate = gate, in_up = up;
  swiglu_backward(in_gate.data(), in_up.data(), dy.data(), in_gate.data(), in_up.data(), n, pool);
  EXPECT_EQ(in_gate, dgate);
  EXPECT_EQ(in_up, dup);
  auto in_dy = dy;
  swiglu_backward(in_dy.data(), in_up.data(), in_dy.data(), gate.data(), up.data(), n, pool);
  EXPECT_EQ(in_dy, dgate);
  EXPECT_EQ(in_up, dup);
}

TEST(Swiglu, BackwardIsTheDerivative) {
  const int64_t n = 9;
  auto gate = numbers<double>(n, 1, 4), up = numbers<double>(n, 2);
  const auto dy = numbers<double>(n, 3);
  auto y = zeros<double>(n), dgate = zeros<double>(n), dup = zeros<double>(n);
  const auto loss = [&] {
    swiglu_forward_reference(y.data(), gate.data(), up.data(), n);
    return test::dot(y, dy);
  };
  swiglu_backward_reference(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n);
  test::expect_gradient(loss, gate, dgate, "gate");
  test::expect_gradient(loss, up, dup, "up");
}

// An element's bits depend on its inputs alone: not on threads, nor on its place in the array.
TEST(Swiglu, SameBitsForAnyCut) {
  const int64_t n = 50001;
  const auto gate = numbers(n, 1, 4), up = numbers(n, 2);
  auto whole = zeros(n), threaded = zeros(n), cut = zeros(n);
  ThreadPool one(1), three(3);
  swiglu_forward(whole.data(), gate.data(), up.data(), n, one);
  swiglu_forward(threaded.data(), gate.data(), up.data(), n, three);
  for (int64_t begin = 0; begin < n; begin += 1003) {
    swiglu_forward(cut.data() + begin, gate.data() + begin, up.data() + begin,
                   std::min<int64_t>(1003, n - begin), one);
  }
  EXPECT_EQ(whole, threaded);
  EXPECT_EQ(whole, cut);
}

}  // namespace
}  // namespace lora
