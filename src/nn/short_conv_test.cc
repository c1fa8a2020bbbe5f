// The body against its formula in double, and that formula's slopes.
#include "nn/short_conv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"
#include "kernels/conv/conv_reference.h"
#include "nn/finite_differences.h"
#include "nn/linear_reference.h"
#include "nn/test_util.h"

namespace lora {
namespace short_conv_test {

using test::Layer;
using test::Machinery;
using test::random_values;
using test::relative_difference;
using test::to_float;
using test::Values;

const std::vector<AttentionSegment> kSegments = {{0, 1, 0, 1}, {1, 2, 1, 2}, {3, 11, 3, 11}};
constexpr int64_t kTokens = 14;

// The numbers of a body that reads n_embd and convolves n channels.
struct Reference {
  int64_t n, n_embd, d_conv;
  LinearReference<double> in{n_embd,
                             3 * n,
                             2,
                             0.75,
                             random_values(1, 3 * n * n_embd, 0.3),
                             random_values(2, 2 * n_embd, 0.3),
                             random_values(3, 3 * n * 2)};
  LinearReference<double> out{n,
                              n_embd,
                              3,
                              1.5,
                              random_values(4, n_embd* n, 0.3),
                              random_values(5, 3 * n, 0.3),
                              random_values(6, n_embd * 3)};
  Values taps = random_values(7, n* d_conv);

  Values forward(const Values& x, std::span<const AttentionSegment> segments) const {
    const auto n_tokens = int64_t(x.size()) / n_embd;
    const Values bcu = linear_forward_reference(in, x, n_tokens);
    Values gated(size_t(n_tokens * n)), y(gated.size());
    const auto at = [&](int64_t column, int64_t i) {
      return bcu[size_t((3 * (i / n) + column) * n + i % n)];
    };
    for (int64_t i = 0; i < n_tokens * n; ++i) gated[size_t(i)] = at(0, i) * at(2, i);
    causal_conv_forward_reference<double>(y.data(), n, gated.data(), n, segments,
                                          {taps.data(), nullptr, n, d_conv});
    for (int64_t i = 0; i < n_tokens * n; ++i) y[size_t(i)] *= at(1, i);
    return linear_forward_reference(out, y, n_tokens);
  }
};

// The same in f32, with gradients to add to.
struct Body {
  std::vector<float> taps;
  Layer in, out;
  ShortConv conv;

  explicit Body(const Reference& r) : taps(to_float(r.taps)), in(r.in), out(r.out) {
    conv.in = in.linear;
    conv.out = out.linear;
    conv.conv = taps.data();
    conv.d_conv = r.d_conv;
  }
};

const int64_t kShapes[][3] = {{5, 7, 3}, {16, 16, 4}, {19, 12, 2}, {8, 24, 1}, {3, 5, 8}};

TEST(ShortConv, ForwardAndGradientsAreTheFormulas) {
  for (const auto& [n, n_embd, d_conv] : kShapes) {
    SCOPED_TRACE(fmt::format("{} channels of {}, {} taps", n, n_embd, d_conv));
    Reference r{n, n_embd, d_conv};
    Body body(r);
    Machinery m(2);
    Values x = random_values(8, kTokens * n_embd);
    const Values dy = random_values(9, kTokens * n_embd), dx_before = random_values(10, kTokens * n_embd);
    const std::vector<float> xf = to_float(x), dyf = to_float(dy);
    const Norm none;
    const BodyInput in(xf.data(), none, kTokens, n_embd);
    const Tokens tokens{kTokens, nullptr, kSegments, {}};
    const ShortConvKept kept = take_kept(m.arena, body.conv, kTokens, Pass::gradients);
    std::vector<float> y(xf.size(), std::numeric_limits<float>::quiet_NaN());
    body_forward(y.data(), false, in, body.conv, kept, tokens, nullptr, m.nn);
    EXPECT_LT(relative_difference(y, r.forward(x, kSegments)), 1e-6);

    std::vector<float> dx = to_float(dx_before);
    body_backward(dx.data(), dyf.data(), in, body.conv, kept, tokens, m.nn);
    const auto f = [&] {
      const Values out = r.forward(x, kSegments);
      double sum = 0;
      for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dy[i];
      return sum;
    };
    Values want = test::finite_differences(x, f);
    for (size_t i = 0; i < want.size(); ++i) want[i] += dx_before[i];
    EXPECT_LT(relative_difference(dx, want), 1e-6);
    EXPECT_LT(relative_difference(body.in.da, test::finite_differences(r.in.a, f)), 1e-6);
    EXPECT_LT(relative_difference(body.in.db, test::finite_differences(r.in.b, f)), 1e-6);
    EXPECT_LT(relative_difference(body.out.da, test::finite_differences(r.out.a, f)), 1e-6);
    EXPECT_LT(relative_difference(body.out.db, test::finite_differences(r.out.b, f)), 1e-6);
  }
}

TEST(ShortConv, TokenByTokenIsTheWhole) {
  for (const auto& [n, n_embd, d_conv] : kShapes) {
    const Reference r{n, n_embd, d_conv};
    Body body(r);
    const Values x = random_values(8, kTokens * n_embd);
    const std::vector<float> xf = to_float(x);
    const AttentionSegment all = {0, kTokens, 0, kTokens};
    const Values want = r.forward(x, {&all, 1});
    for (const int64_t step : {1, 2, 5}) {
      Machinery m(2);
      std::vector<float> state(size_t((d_conv - 1) * n)), y(xf.size());
      for (int64_t t = 0; t < kTokens; t += step) {
        const int64_t n_new = std::min(step, kTokens - t);
        Past past;
        past.n_past = t;
        past.state = state.data();
        const Norm none;
        const BodyInput in(xf.data() + t * n_embd, none, n_new, n_embd);
        const ArenaScope scope(m.arena);
        const ShortConvKept kept = take_kept(m.arena, body.conv, n_new, Pass::generation);
        body_forward(y.data() + t * n_embd, false, in, body.conv, kept, {n_new, nullptr, {}, {}}, &past,
                     m.nn);
      }
      EXPECT_LT(relative_difference(y, want), 1e-6) << step << " at a time, " << d_conv << " taps";
    }
  }
}

TEST(ShortConv, SameBitsForAnyThreads) {
  const Reference r{40, 24, 3};
  const std::vector<float> x = to_float(random_values(8, kTokens * 24)),
                           dy = to_float(random_values(9, kTokens * 24));
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 3}) {
    Body body(r);
    Machinery m(threads);
    const Norm none;
    const BodyInput in(x.data(), none, kTokens, 24);
    const Tokens tokens{kTokens, nullptr, kSegments, {}};
    const ShortConvKept kept = take_kept(m.arena, body.conv, kTokens, Pass::gradients);
    std::vector<float> y(x.size()), dx(x.size());
    body_forward(y.data(), false, in, body.conv, kept, tokens, nullptr, m.nn);
    body_backward(dx.data(), dy.data(), in, body.conv, kept, tokens, m.nn);
    for (const auto& more : {dx, body.in.da, body.in.db, body.out.da, body.out.db})
      y.insert(y.end(), more.begin(), more.end());
    results.push_back(y);
  }
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace short_conv_test
}  // namespace lora
