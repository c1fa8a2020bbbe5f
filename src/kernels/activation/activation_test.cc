#include "kernels/activation/activation.h"

#include <gtest/gtest.h>

#include "kernels/activation/activation_reference.h"
#include "kernels/isa.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace activation_test {

using test::cast, test::kEpsilon, test::Misaligned, test::numbers, test::zeros;

const int64_t kLengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000};

struct Named {
  const char* name;
  Activation activation;
};
constexpr Named kActivations[] = {{"silu", Activation::silu},
                                  {"gelu", Activation::gelu},
                                  {"gelu_tanh", Activation::gelu_tanh},
                                  {"relu", Activation::relu},
                                  {"relu_squared", Activation::relu_squared},
                                  {"silu_clamped", Activation::silu_clamped}};

class Activations : public testing::TestWithParam<Named> {};
INSTANTIATE_TEST_SUITE_P(All, Activations, testing::ValuesIn(kActivations),
                         [](const auto& at) { return std::string(at.param.name); });

// exp() is good to 2 epsilon of its result, and its argument where that is computed: in gelu_tanh to as many
// as it is large, in gelu likewise, but by the plain form only. A quotient and a few products follow. Below
// f32's range exp() is 0, and is multiplied by no more than a few hundred.
constexpr double kTiny = 1e-35;
double share(double x, Activation a) {
  if (a == Activation::gelu_tanh) return (8 + 4 * std::abs(gelu_tanh_argument(x))) * kEpsilon;
  if (a == Activation::silu_clamped) return (8 + 4 * std::abs(x)) * kEpsilon;
  if (a == Activation::gelu && isa() == Isa::scalar) return (8 + x * x) * kEpsilon;
  return 8 * kEpsilon;
}
double value_error(double x, Activation a) {
  return share(x, a) * std::abs(activation_value(x, a)) + kTiny;
}
// A slope is a sum of two parts that cancel near the minimum: the error is relative to the larger.
double slope_error(double x, Activation a) {
  double part = std::abs(activation_slope(x, a));
  if (a == Activation::silu_clamped) part = (1 + 2 * std::abs(x)) / (1 + std::exp(-kClampedSlope * x));
  if (a == Activation::silu) part = (1 + std::abs(x)) / (1 + std::exp(-x));
  if (a == Activation::gelu || a == Activation::gelu_tanh) part += activation_value(x, a) / (x == 0 ? 1 : x);
  return share(x, a) * part + kTiny;
}

// Inputs from -20 to 20: nearly 0, curved, and nearly the identity.
TEST_P(Activations, MatchReference) {
  const Activation a = GetParam().activation;
  ThreadPool pool(2);
  const bool clamped = a == Activation::silu_clamped;
  const float most_up = clamped ? 10 : 1;  // of what errors are multiplied with, and one more
  for (int64_t n : kLengths) {
    Misaligned gate(numbers(n, 1, 20)), up(numbers(n, 2, most_up)), dy(numbers(n, 3));
    Misaligned y(zeros(n)), dgate(y), dup(y), y_plain(y), dx(y);
    gated_forward(y.data(), gate.data(), up.data(), n, a, pool);
    gated_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n, a, pool);
    activation_forward(y_plain.data(), gate.data(), n, a, pool);
    activation_backward(dx.data(), dy.data(), gate.data(), n, a, pool);

    const auto g64 = cast<double>(numbers(n, 1, 20)), u64 = cast<double>(numbers(n, 2, most_up)),
               dy64 = cast<double>(numbers(n, 3));
    auto want = zeros<double>(n), want_dgate = want, want_dup = want, want_plain = want, want_dx = want;
    const double* none = nullptr;
    gated_forward_reference(want.data(), g64.data(), u64.data(), n, a);
    gated_backward_reference(want_dgate.data(), want_dup.data(), dy64.data(), g64.data(), u64.data(), n, a);
    gated_forward_reference(want_plain.data(), g64.data(), none, n, a);
    gated_backward_reference(want_dx.data(), want_dx.data(), dy64.data(), g64.data(), none, n, a);
    const std::string what = "n " + std::to_string(n);
    const double factor = clamped ? 8 : 1;
    const auto value = [&](int64_t i) { return factor * value_error(g64[size_t(i)], a); };
    const auto slope = [&](int64_t i) { return factor * slope_error(g64[size_t(i)], a); };
    test::expect_close(y, want, value, what + " y");
    test::expect_close(dup, want_dup, value, what + " dup");
    test::expect_close(dgate, want_dgate, slope, what + " dgate");
    test::expect_close(y_plain, want_plain, value, what + " y, not gated");
    test::expect_close(dx, want_dx, slope, what + " dx, not gated");
    EXPECT_TRUE(y.guards_intact() && dgate.guards_intact() && dup.guards_intact()) << what;
    EXPECT_TRUE(y_plain.guards_intact() && dx.guards_intact()) << what;
  }
}

// From where the result leaves f32's range to where it is the identity, and close to 0 from both sides.
TEST_P(Activations, RightOverTheWholeRange) {
  const Activation a = GetParam().activation;
  ThreadPool pool(1);
  std::vector<float> x;
  for (float at = -95; at < 20; at += 1.0f / 1024) x.push_back(at);
  for (float at = 1e-30f; at < 1; at *= 1.01f) x.insert(x.end(), {at, -at});
  const auto n = int64_t(x.size());
  const std::vector<float> ones(x.size(), 1.0f);
  std::vector<float> y(x.size()), dx(x.size());
  activation_forward(y.data(), x.data(), n, a, pool);
  activation_backward(dx.data(), ones.data(), x.data(), n, a, pool);
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    ASSERT_NEAR(y[i], activation_value(at, a), value_error(at, a)) << at;
    ASSERT_NEAR(dx[i], activation_slope(at, a), slope_error(at, a)) << at;
  }
}

// What PyTorch's silu, gelu and gelu(approximate="tanh") are by their definitions.
TEST(Activation, IsWhatItIsCalled) {
  const double x[] = {-3, -1, -0.5, 0.5, 1, 3};
  const double silu[] = {-0.142277620, -0.268941421, -0.188770334, 0.311229666, 0.731058579, 2.857722380};
  const double gelu[] = {-0.004049694, -0.158655254, -0.154268769, 0.345731231, 0.841344746, 2.995950306};
  const double gelu_tanh[] = {-0.003637392, -0.158808009, -0.154285990,
                              0.345714010,  0.841191991,  2.996362608};
  for (int i = 0; i < 6; ++i) {
    EXPECT_NEAR(activation_value(x[i], Activation::silu), silu[i], 1e-9) << x[i];
    EXPECT_NEAR(activation_value(x[i], Activation::gelu), gelu[i], 1e-9) << x[i];
    EXPECT_NEAR(activation_value(x[i], Activation::gelu_tanh), gelu_tanh[i], 1e-9) << x[i];
    EXPECT_EQ(activation_value(x[i], Activation::relu), std::max(x[i], 0.0));
    EXPECT_EQ(activation_value(x[i], Activation::relu_squared), x[i] > 0 ? x[i] * x[i] : 0);
  }
}

TEST_P(Activations, ExtremeInputsStayFinite) {
  const Activation a = GetParam().activation;
  ThreadPool pool(1);
  const bool squared = a == Activation::relu_squared;
  const float most = squared ? 1e18f : 1e30f;  // whose square is finite
  const std::vector<float> gate = {-most, -1000, -104, -88, -87.4f, 87.4f, 88, 104, 1000, most};
  const std::vector<float> ones(gate.size(), 1.0f);
  std::vector<float> y(gate.size()), dgate(gate.size()), dup(gate.size());
  gated_forward(y.data(), gate.data(), ones.data(), int64_t(gate.size()), a, pool);
  gated_backward(dgate.data(), dup.data(), ones.data(), gate.data(), ones.data(), int64_t(gate.size()), a,
                 pool);
  for (size_t i = 0; i < gate.size(); ++i) {
    const float positive = std::max(gate[i], 0.0f), value = squared ? positive * positive : positive;
    if (a == Activation::silu_clamped) {  // at most 7, and up is 2
      EXPECT_NEAR(y[i], 2 * activation_value(double(gate[i]), a), 1e-5) << gate[i];
      EXPECT_NEAR(dup[i], activation_value(double(gate[i]), a), 1e-5) << gate[i];
      EXPECT_NEAR(dgate[i], 0, 1e-30) << gate[i];
      continue;
    }
    EXPECT_NEAR(y[i], value, 1e-30) << gate[i];
    EXPECT_NEAR(dup[i], value, 1e-30) << gate[i];
    EXPECT_NEAR(dgate[i], squared ? 2 * positive : positive > 0, 1e-30) << gate[i];
  }
}

// gpt-oss: up is clamped on both sides and then one more, and has no slope beyond.
TEST(Activation, ClampedUp) {
  ThreadPool pool(1);
  const std::vector<float> gate(5, 3.0f), up = {-9, -7, 2, 7, 9}, ones(5, 1.0f);
  std::vector<float> y(5), dgate(5), dup(5);
  gated_forward(y.data(), gate.data(), up.data(), 5, Activation::silu_clamped, pool);
  gated_backward(dgate.data(), dup.data(), ones.data(), gate.data(), up.data(), 5, Activation::silu_clamped,
                 pool);
  const double value = 3 / (1 + std::exp(-1.702 * 3));
  const double factors[] = {-6, -6, 3, 8, 8};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(y[i], value * factors[i], 1e-5);
    EXPECT_NEAR(dup[i], i == 0 || i == 4 ? 0 : value, 1e-5);
  }
}

TEST_P(Activations, NotANumberPassesThrough) {
  const Activation a = GetParam().activation;
  ThreadPool pool(1);
  std::vector<float> gate(40, 1.0f), up(40, 1.0f), y(40), dx(40);
  gate[3] = up[38] = std::numeric_limits<float>::quiet_NaN();
  gated_forward(y.data(), gate.data(), up.data(), 40, a, pool);
  activation_backward(dx.data(), up.data(), gate.data(), 40, a, pool);
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(std::isnan(y[i]), i == 3 || i == 38) << i;
    EXPECT_EQ(std::isnan(dx[i]), i == 38 || (i == 3 && std::isnan(activation_slope(gate[i], a)))) << i;
  }
}

TEST_P(Activations, InPlace) {
  const Activation a = GetParam().activation;
  ThreadPool pool(1);
  const int64_t n = 37;
  const auto gate = numbers(n, 1, 4), up = numbers(n, 2), dy = numbers(n, 3);
  auto y = zeros(n), dgate = zeros(n), dup = zeros(n), y_plain = zeros(n), dx = zeros(n);
  gated_forward(y.data(), gate.data(), up.data(), n, a, pool);
  gated_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n, a, pool);
  activation_forward(y_plain.data(), gate.data(), n, a, pool);
  activation_backward(dx.data(), dy.data(), gate.data(), n, a, pool);

  auto in_gate = gate, in_up = up;
  gated_forward(in_gate.data(), in_gate.data(), up.data(), n, a, pool);
  EXPECT_EQ(in_gate, y);
  gated_forward(in_up.data(), gate.data(), in_up.data(), n, a, pool);
  EXPECT_EQ(in_up, y);
  in_gate = gate, in_up = up;
  gated_backward(in_gate.data(), in_up.data(), dy.data(), in_gate.data(), in_up.data(), n, a, pool);
  EXPECT_EQ(in_gate, dgate);
  EXPECT_EQ(in_up, dup);
  auto in_dy = dy;
  gated_backward(in_dy.data(), in_up.data(), in_dy.data(), gate.data(), up.data(), n, a, pool);
  EXPECT_EQ(in_dy, dgate);
  EXPECT_EQ(in_up, dup);
  in_dy = dy, in_gate = gate;
  gated_backward(in_gate.data(), in_dy.data(), in_dy.data(), in_gate.data(), up.data(), n, a, pool);
  EXPECT_EQ(in_gate, dgate);
  EXPECT_EQ(in_dy, dup);
  in_gate = gate;
  activation_forward(in_gate.data(), in_gate.data(), n, a, pool);
  EXPECT_EQ(in_gate, y_plain);
  in_gate = gate, in_dy = dy;
  activation_backward(in_gate.data(), dy.data(), in_gate.data(), n, a, pool);
  EXPECT_EQ(in_gate, dx);
  activation_backward(in_dy.data(), in_dy.data(), gate.data(), n, a, pool);
  EXPECT_EQ(in_dy, dx);
}

TEST_P(Activations, BackwardIsTheDerivative) {
  const Activation a = GetParam().activation;
  const int64_t n = 9;
  auto gate = numbers<double>(n, 1, 4), up = numbers<double>(n, 2);
  const auto dy = numbers<double>(n, 3);
  auto y = zeros<double>(n), dgate = zeros<double>(n), dup = zeros<double>(n);
  for (const bool gated : {true, false}) {
    const double* factor = gated ? up.data() : nullptr;
    const auto loss = [&] {
      gated_forward_reference(y.data(), gate.data(), factor, n, a);
      return test::dot(y, dy);
    };
    gated_backward_reference(dgate.data(), dup.data(), dy.data(), gate.data(), factor, n, a);
    test::expect_gradient(loss, gate, dgate, "gate");
    if (gated) test::expect_gradient(loss, up, dup, "up");
  }
}

// An element's bits depend on its inputs alone: not on threads, nor on its place in the array.
TEST_P(Activations, SameBitsForAnyCut) {
  const Activation a = GetParam().activation;
  const int64_t n = 50001;
  const auto gate = numbers(n, 1, 4), up = numbers(n, 2);
  auto whole = zeros(n), threaded = zeros(n), cut = zeros(n);
  ThreadPool one(1), three(3);
  gated_forward(whole.data(), gate.data(), up.data(), n, a, one);
  gated_forward(threaded.data(), gate.data(), up.data(), n, a, three);
  for (int64_t begin = 0; begin < n; begin += 1003) {
    gated_forward(cut.data() + begin, gate.data() + begin, up.data() + begin,
                  std::min<int64_t>(1003, n - begin), a, one);
  }
  EXPECT_EQ(whole, threaded);
  EXPECT_EQ(whole, cut);
}

}  // namespace activation_test
}  // namespace lora
