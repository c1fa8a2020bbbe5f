#include "kernels/conv/conv.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/conv/conv_reference.h"
#include "kernels/test_numbers.h"

namespace lora {
namespace conv_test {

using test::kEpsilon, test::Misaligned, test::numbers, test::zeros;

// Around the widths of all vectors (4, 8, 16 floats) and of a task's channels.
const int64_t kChannels[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 100, 255, 256, 257, 530};

AttentionSegment segment(int64_t begin, int64_t n) {
  return {begin, n, begin, n};
}
// Shorter than the taps reach, as long, longer, and one beyond the rows of a task; rows 4 and 5 are no one's.
const std::vector<AttentionSegment> kSegments = {segment(0, 1), segment(1, 3),   segment(6, 2),
                                                 segment(8, 8), segment(16, 35), segment(51, 100)};
constexpr int64_t kTokens = 151, kGap = 4, kGapRows = 2;

// A case: numbers as f32, the same in double, and rows wider than the channels.
struct Case {
  int64_t n, d_conv;
  bool has_bias, silu;
  int64_t x_stride = n + 5, y_stride = n + 2;
  std::vector<float> w = numbers(n * d_conv, 1), bias = numbers(n, 2);
  std::vector<double> w64 = numbers<double>(n * d_conv, 1), bias64 = numbers<double>(n, 2);

  ConvForm form() const { return {w.data(), has_bias ? bias.data() : nullptr, n, d_conv, silu}; }
  ConvFormOf<double> form64() const {
    return {w64.data(), has_bias ? bias64.data() : nullptr, n, d_conv, silu};
  }
  std::string name() const {
    return fmt::format("{} channels, {} taps{}{}", n, d_conv, has_bias ? ", bias" : "", silu ? ", silu" : "");
  }
  // Weights, biases, inputs and gradients lie in [-1, 1): so many roundings of sums below d_conv + 1, through
  // a function whose slope is at most 1.1 and whose values are good to 8 epsilon.
  double tolerance() const {
    const double n_terms = double(d_conv + 1);
    return (1.1 * n_terms * (n_terms + 1) + 8 * n_terms) * kEpsilon;
  }
  // Slopes, which change by at most 0.5 for each of their argument, times gradients, in a sum of d_conv.
  double backward_tolerance() const {
    return double(d_conv) * (tolerance() + double(d_conv + 10) * kEpsilon);
  }
};

template <class Check>
void for_each_case(const Check& check) {
  for (const int64_t n : kChannels) {
    for (const int64_t d_conv : {1, 2, 3, 4, 5, 8}) {
      for (const bool has_bias : {false, true}) {
        for (const bool silu : {false, true}) check(Case{n, d_conv, has_bias, silu});
      }
    }
  }
  check(Case{33, kMaxConv, true, true});
}

// What is written is as wanted, and only that: nothing between the rows, nor in rows of no segment.
void expect_rows(Misaligned& got, const std::vector<double>& want, int64_t n, int64_t stride,
                 double tolerance, const std::string& what) {
  for (int64_t t = 0; t * stride < got.size(); ++t) {
    for (int64_t c = 0; c < stride; ++c) {
      const bool is_left_alone = c >= n || (t >= kGap && t < kGap + kGapRows);
      const int64_t i = t * stride + c;
      if (is_left_alone) {
        ASSERT_EQ(got[i], 7.0f) << what << ", row " << t << ", column " << c;
      } else {
        ASSERT_NEAR(got[i], want[size_t(i)], tolerance) << what << ", row " << t << ", column " << c;
      }
    }
  }
  EXPECT_TRUE(got.guards_intact()) << what;
}

TEST(CausalConv, ForwardMatchesReference) {
  ThreadPool pool(2);
  for_each_case([&](const Case& c) {
    Misaligned x(numbers(kTokens * c.x_stride, 3)), y(std::vector<float>(size_t(kTokens * c.y_stride), 7.0f));
    causal_conv_forward(y.data(), c.y_stride, x.data(), c.x_stride, kSegments, c.form(), pool);
    const auto x64 = numbers<double>(kTokens * c.x_stride, 3);
    auto want = zeros<double>(kTokens * c.y_stride);
    causal_conv_forward_reference(want.data(), c.y_stride, x64.data(), c.x_stride, kSegments, c.form64());
    expect_rows(y, want, c.n, c.y_stride, c.tolerance(), c.name());
  });
}

TEST(CausalConv, BackwardMatchesReference) {
  ThreadPool pool(2);
  for_each_case([&](const Case& c) {
    const int64_t dy_stride = c.n + 3;
    Misaligned x(numbers(kTokens * c.x_stride, 3)), dy(numbers(kTokens * dy_stride, 4)),
        dx(std::vector<float>(size_t(kTokens * c.y_stride), 7.0f));
    causal_conv_backward(dx.data(), c.y_stride, dy.data(), dy_stride, c.silu ? x.data() : nullptr, c.x_stride,
                         kSegments, c.form(), pool);
    const auto x64 = numbers<double>(kTokens * c.x_stride, 3), dy64 = numbers<double>(kTokens * dy_stride, 4);
    auto want = zeros<double>(kTokens * c.y_stride);
    causal_conv_backward_reference(want.data(), c.y_stride, dy64.data(), dy_stride, x64.data(), c.x_stride,
                                   kSegments, c.form64());
    expect_rows(dx, want, c.n, c.y_stride, c.backward_tolerance(), c.name());
  });
}

// A convolution written out: taps 2, 3, 5 (the last one for the token itself) over 1, 10, 100, 1000.
TEST(CausalConv, IsWhatItIsCalled) {
  ThreadPool pool(1);
  const std::vector<float> w = {2, 3, 5}, bias = {0.5}, x = {1, 10, 100, 1000, 1, 10};
  const std::vector<AttentionSegment> segments = {segment(0, 4), segment(4, 2)};
  std::vector<float> y(6), dx(6), state(2);
  const ConvForm form = {w.data(), bias.data(), 1, 3};
  causal_conv_forward(y.data(), 1, x.data(), 1, segments, form, pool);
  EXPECT_EQ(y, (std::vector<float>{5.5, 53.5, 532.5, 5320.5, 5.5, 53.5}));
  causal_conv_backward(dx.data(), 1, x.data(), 1, nullptr, 0, segments, form, pool);
  EXPECT_EQ(dx, (std::vector<float>{235, 2350, 3500, 5000, 35, 50}));
  causal_conv_next(y.data(), 1, state.data(), x.data(), 1, 3, form, pool);
  causal_conv_next(y.data() + 3, 1, state.data(), x.data() + 3, 1, 1, form, pool);
  EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 4), (std::vector<float>{5.5, 53.5, 532.5, 5320.5}));
  EXPECT_EQ(state, (std::vector<float>{100, 1000}));
}

TEST(CausalConv, BackwardIsTheDerivative) {
  const int64_t n = 3, n_tokens = 12;
  const std::vector<AttentionSegment> segments = {segment(0, 1), segment(1, 2), segment(3, 9)};
  for (const int64_t d_conv : {1, 2, 3, 4, 7}) {
    for (const bool silu : {false, true}) {
      const Case c{n, d_conv, true, silu};
      auto x = numbers<double>(n_tokens * c.x_stride, 3);
      const auto dy = numbers<double>(n_tokens * c.y_stride, 4);
      auto y = zeros<double>(n_tokens * c.y_stride);
      auto dx = zeros<double>(n_tokens * c.x_stride);
      const auto loss = [&] {
        causal_conv_forward_reference(y.data(), c.y_stride, x.data(), c.x_stride, segments, c.form64());
        double sum = 0;
        for (int64_t t = 0; t < n_tokens; ++t) {
          for (int64_t i = 0; i < n; ++i)
            sum += dy[size_t(t * c.y_stride + i)] * y[size_t(t * c.y_stride + i)];
        }
        return sum;
      };
      causal_conv_backward_reference(dx.data(), c.x_stride, dy.data(), c.y_stride, x.data(), c.x_stride,
                                     segments, c.form64());
      test::expect_gradient(loss, x, dx, c.name());
    }
  }
}

// One token at a time, and some at a time, are the whole to the bit; so is the state they leave.
TEST(CausalConv, StateFormIsTheWhole) {
  ThreadPool pool(2);
  for (const int64_t n : {1, 7, 16, 100, 257}) {
    for (const int64_t d_conv : {1, 2, 3, 4, 8}) {
      for (const bool silu : {false, true}) {
        const Case c{n, d_conv, true, silu};
        const int64_t n_tokens = 41;
        const auto x = numbers(n_tokens * c.x_stride, 3);
        auto whole = zeros(n_tokens * c.y_stride);
        const AttentionSegment all = segment(0, n_tokens);
        causal_conv_forward(whole.data(), c.y_stride, x.data(), c.x_stride, {&all, 1}, c.form(), pool);
        for (const int64_t step : {1, 2, 3, 5, 41}) {
          auto y = zeros(n_tokens * c.y_stride), state = zeros((d_conv - 1) * n);
          for (int64_t t = 0; t < n_tokens; t += step) {
            causal_conv_next(y.data() + t * c.y_stride, c.y_stride, state.data(), x.data() + t * c.x_stride,
                             c.x_stride, std::min(step, n_tokens - t), c.form(), pool);
          }
          ASSERT_EQ(y, whole) << c.name() << ", " << step << " at a time";
          for (int64_t t = 0; t < d_conv - 1; ++t) {
            for (int64_t i = 0; i < n; ++i) {
              ASSERT_EQ(state[size_t(t * n + i)], x[size_t((n_tokens - (d_conv - 1) + t) * c.x_stride + i)])
                  << c.name();
            }
          }
        }
      }
    }
  }
}

TEST(CausalConv, SameBitsForAnyThreadCount) {
  const Case c{530, 4, true, true};
  const auto x = numbers(kTokens * c.x_stride, 3), dy = numbers(kTokens * c.y_stride, 4);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    auto y = zeros(kTokens * c.y_stride), dx = y, next = y, state = zeros((c.d_conv - 1) * c.n);
    causal_conv_forward(y.data(), c.y_stride, x.data(), c.x_stride, kSegments, c.form(), pool);
    causal_conv_backward(dx.data(), c.y_stride, dy.data(), c.y_stride, x.data(), c.x_stride, kSegments,
                         c.form(), pool);
    causal_conv_next(next.data(), c.y_stride, state.data(), x.data(), c.x_stride, kTokens, c.form(), pool);
    for (const auto& more : {dx, next, state}) y.insert(y.end(), more.begin(), more.end());
    results.push_back(y);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

// A channel's bits depend on its numbers alone, not on where in a vector it lies.
TEST(CausalConv, SameBitsForAnyPlace) {
  ThreadPool pool(1);
  const Case c{37, 3, true, true};
  const auto x = numbers(kTokens * c.n, 3), dy = numbers(kTokens * c.n, 4);
  auto y = zeros(kTokens * c.n), dx = y, y_part = y, dx_part = y;
  causal_conv_forward(y.data(), c.n, x.data(), c.n, kSegments, c.form(), pool);
  causal_conv_backward(dx.data(), c.n, dy.data(), c.n, x.data(), c.n, kSegments, c.form(), pool);
  for (int64_t i = 0; i < c.n; i += 5) {
    ConvForm part = c.form();
    part.w += i * c.d_conv, part.bias += i, part.n_channels = std::min<int64_t>(5, c.n - i);
    causal_conv_forward(y_part.data() + i, c.n, x.data() + i, c.n, kSegments, part, pool);
    causal_conv_backward(dx_part.data() + i, c.n, dy.data() + i, c.n, x.data() + i, c.n, kSegments, part,
                         pool);
  }
  EXPECT_EQ(y, y_part);
  EXPECT_EQ(dx, dx_part);
}

TEST(CausalConv, RefusesTooManyTaps) {
  ThreadPool pool(1);
  float x = 0, y = 0;
  for (const int64_t d_conv : {int64_t{0}, kMaxConv + 1}) {
    try {
      causal_conv_next(&y, 1, nullptr, &x, 1, 1, {&x, nullptr, 1, d_conv}, pool);
      FAIL() << d_conv;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(fmt::format("convolution: {} taps", d_conv)),
                std::string::npos);
    }
  }
}

}  // namespace conv_test
}  // namespace lora
