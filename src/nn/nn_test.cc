// Each layer twice: its plain reference against finite differences in double, and the layer itself
// against the reference.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/random.h"
#include "kernels/cross_entropy/cross_entropy_reference.h"
#include "kernels/dot/dot.h"
#include "kernels/dropout/dropout.h"
#include "kernels/test_weights.h"
#include "nn/embedding.h"
#include "nn/finite_differences.h"
#include "nn/head.h"
#include "nn/linear.h"
#include "nn/linear_reference.h"
#include "nn/test_util.h"

namespace lora {
namespace nn_test {

using test::finite_differences;
using test::Layer;
using test::Machinery;
using test::random_values;
using test::relative_difference;
using test::to_float;
using test::Values;

double inner(const Values& x, const Values& y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

LinearReference<double> random_linear(int64_t n_in, int64_t n_out, int64_t rank, uint64_t stream) {
  return {n_in,
          n_out,
          rank,
          0.75,
          random_values(stream, n_out * n_in),
          random_values(stream + 1, rank * n_in),
          random_values(stream + 2, n_out * rank)};
}

TEST(LinearReference, GradientsAgreeWithFiniteDifferences) {
  const int64_t n_tokens = 5, n_in = 7, n_out = 6, rank = 3;
  LinearReference<double> l = random_linear(n_in, n_out, rank, 1);
  Values x = random_values(10, n_tokens * n_in);
  const Values dy = random_values(11, n_tokens * n_out);
  const auto f = [&] { return inner(linear_forward_reference(l, x, n_tokens), dy); };
  const auto d = linear_backward_reference(l, x, dy, n_tokens);
  EXPECT_LT(relative_difference(d.x, finite_differences(x, f)), 1e-8);
  EXPECT_LT(relative_difference(d.a, finite_differences(l.a, f)), 1e-8);
  EXPECT_LT(relative_difference(d.b, finite_differences(l.b, f)), 1e-8);
}

// An embedding is the linear layer of one-hot rows; only its adapter has gradients.
Values one_hot(const std::vector<int32_t>& ids, int64_t n_vocab) {
  Values x(ids.size() * size_t(n_vocab));
  for (size_t t = 0; t < ids.size(); ++t) x[t * size_t(n_vocab) + size_t(ids[t])] = 1;
  return x;
}

// Cross-entropy of a head, as a function of its input and adapter.
double head_loss(const LinearReference<double>& head, const Values& x, const std::vector<int32_t>& targets) {
  const Values logits = linear_forward_reference(head, x, int64_t(targets.size()));
  double loss = 0;
  for (size_t t = 0; t < targets.size(); ++t) {
    loss += cross_entropy_forward_reference(&logits[t * size_t(head.n_out)], targets[t], head.n_out);
  }
  return loss;
}

TEST(HeadReference, GradientsOfTheLossAgreeWithFiniteDifferences) {
  const std::vector<int32_t> targets = {2, -1, 0, 4};
  LinearReference<double> head = random_linear(6, 5, 2, 20);
  Values x = random_values(30, 4 * 6);
  Values logits = linear_forward_reference(head, x, 4);
  for (size_t t = 0; t < 4; ++t)
    cross_entropy_backward_reference(&logits[t * 5], targets[t], 1.0, head.n_out);
  const auto d = linear_backward_reference(head, x, logits, 4);
  const auto f = [&] { return head_loss(head, x, targets); };
  EXPECT_LT(relative_difference(d.x, finite_differences(x, f)), 1e-7);
  EXPECT_LT(relative_difference(d.a, finite_differences(head.a, f)), 1e-7);
  EXPECT_LT(relative_difference(d.b, finite_differences(head.b, f)), 1e-7);
}

constexpr double kTolerance = 2e-6;  // f32 sums of some hundred products

// More tokens than kDotTokens take the packed path, fewer the one for generation.
TEST(Linear, AgreesWithTheReferenceOnBothPaths) {
  for (int64_t n_tokens : {int64_t{1}, kDotTokens, kDotTokens + 1, int64_t{33}}) {
    const auto q = random_linear(70, 48, 5, 40), k = random_linear(70, 31, 2, 50);
    Layer lq(q), lk(k);
    const Values x = random_values(60, n_tokens * 70);
    const std::vector<float> xf = to_float(x);
    Machinery m;
    std::vector<float> yq(size_t(n_tokens * 48)), yk(size_t(n_tokens * 31));
    std::vector<float> xaq(size_t(xa_size(lq.linear, n_tokens))), xak(size_t(xa_size(lk.linear, n_tokens)));
    const LinearOutput outputs[] = {{&lq.linear, yq.data(), false, xaq.data()},
                                    {&lk.linear, yk.data(), false, xak.data()}};
    linear_forward(outputs, xf.data(), n_tokens, m.nn);
    EXPECT_LT(relative_difference(yq, linear_forward_reference(q, x, n_tokens)), kTolerance);
    EXPECT_LT(relative_difference(yk, linear_forward_reference(k, x, n_tokens)), kTolerance);

    const Values dq = random_values(61, n_tokens * 48), dk = random_values(62, n_tokens * 31);
    const std::vector<float> dqf = to_float(dq), dkf = to_float(dk);
    std::vector<float> dx(size_t(n_tokens * 70));
    const LinearGradient gradients[] = {{&lq.linear, dqf.data(), xaq.data()},
                                        {&lk.linear, dkf.data(), xak.data()}};
    linear_backward(dx.data(), gradients, xf.data(), n_tokens, m.nn);
    const auto wq = linear_backward_reference(q, x, dq, n_tokens),
               wk = linear_backward_reference(k, x, dk, n_tokens);
    Values sum = wq.x;
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += wk.x[i];
    EXPECT_LT(relative_difference(dx, sum), kTolerance);
    EXPECT_LT(relative_difference(lq.da, wq.a), kTolerance);
    EXPECT_LT(relative_difference(lq.db, wq.b), kTolerance);
    EXPECT_LT(relative_difference(lk.da, wk.a), kTolerance);
    EXPECT_LT(relative_difference(lk.db, wk.b), kTolerance);
  }
}

// Rounding 32 activations to 8 bits with one scale costs about half a percent.
TEST(Linear, PromptsInIntegersAreNearTheReference) {
  const test::Weights w = test::random_weights(Type::Q4_K, 40, 512, 7);
  auto r = random_linear(512, 40, 3, 70);
  r.w = w.values;
  for (int64_t n_tokens : {1, 3, 16, 24, 32, 70}) {
    for (bool accumulate : {false, true}) {
      Layer adapted(r), plain(r);
      adapted.linear.w = plain.linear.w = w.view;
      plain.linear.loras.clear();
      const Values x = random_values(91, n_tokens * 512);
      Machinery m;
      m.nn.dot = DotInput::int8;
      std::vector<float> y(size_t(n_tokens * 40), 1.0f), z(y);
      const LinearOutput outs[] = {{&adapted.linear, y.data(), accumulate},
                                   {&plain.linear, z.data(), accumulate}};
      linear_forward(outs, to_float(x).data(), n_tokens, m.nn);
      auto no_lora = r;
      std::fill(no_lora.b.begin(), no_lora.b.end(), 0);
      Values want = linear_forward_reference(r, x, n_tokens),
             want_plain = linear_forward_reference(no_lora, x, n_tokens);
      for (Values* v : {&want, &want_plain})
        for (double& value : *v) value += accumulate ? 1 : 0;
      EXPECT_LT(relative_difference(y, want), 0.01) << n_tokens;
      EXPECT_LT(relative_difference(z, want_plain), 0.01) << n_tokens;
    }
  }
}

TEST(Linear, AddsSeveralAdaptersAndABias) {
  const auto r = random_linear(20, 9, 3, 70), other = random_linear(20, 9, 2, 80);
  for (int64_t n_tokens : {2, 11}) {
    Layer layer(r), second(other);
    layer.linear.loras.push_back(second.linear.loras[0]);
    const std::vector<float> bias = to_float(random_values(90, 9));
    layer.linear.bias = bias.data();
    const Values x = random_values(91, n_tokens * 20);
    Machinery m;
    std::vector<float> y(size_t(n_tokens * 9));
    const LinearOutput out = {&layer.linear, y.data()};
    linear_forward({&out, 1}, to_float(x).data(), n_tokens, m.nn);
    auto no_base = other;
    std::fill(no_base.w.begin(), no_base.w.end(), 0);
    Values want = linear_forward_reference(r, x, n_tokens);
    const Values more = linear_forward_reference(no_base, x, n_tokens);
    for (size_t i = 0; i < want.size(); ++i) want[i] += more[i] + double(bias[i % 9]);
    EXPECT_LT(relative_difference(y, want), kTolerance);
  }
}

// With dropout the adapter reads D x, D the mask over 1 - p, and everything else reads x: the sum of the
// base's layer and of the adapter's, each by the reference.
TEST(Linear, AdapterReadsADroppedInput) {
  for (int64_t n_tokens : {3, 40}) {
    const auto r = random_linear(70, 48, 5, 40);
    auto base = r, adapter = r;
    std::fill(base.a.begin(), base.a.end(), 0);
    std::fill(adapter.w.begin(), adapter.w.end(), 0);
    Layer layer(r);
    layer.linear.loras[0].dropout = 0.4f;
    layer.linear.loras[0].stream = 9;
    Machinery m;
    m.nn.random_key = 5;
    std::vector<float> d(size_t(n_tokens * 70), 1.0f);
    dropout_apply(d.data(), d.data(), n_tokens, 70, {0.4f, random_bits(5, Purpose::dropout, 9, 0)}, false,
                  m.pool);
    const Values x = random_values(60, n_tokens * 70), dy = random_values(61, n_tokens * 48);
    Values dropped = x;
    for (size_t i = 0; i < x.size(); ++i) dropped[i] *= double(d[i]);
    std::vector<float> in = to_float(x), y(size_t(n_tokens * 48)), xa(size_t(n_tokens * 5));
    const LinearOutput out = {&layer.linear, y.data(), false, xa.data()};
    linear_forward({&out, 1}, in.data(), n_tokens, m.nn);
    Values want = linear_forward_reference(base, x, n_tokens);
    const Values more = linear_forward_reference(adapter, dropped, n_tokens);
    for (size_t i = 0; i < want.size(); ++i) want[i] += more[i];
    EXPECT_LT(relative_difference(y, want), kTolerance);

    const auto from_base = linear_backward_reference(base, x, dy, n_tokens),
               from_adapter = linear_backward_reference(adapter, dropped, dy, n_tokens);
    Values want_dx = from_base.x;
    for (size_t i = 0; i < want_dx.size(); ++i) want_dx[i] += from_adapter.x[i] * double(d[i]);
    const std::vector<float> dyf = to_float(dy);
    const LinearGradient gradient = {&layer.linear, dyf.data(), xa.data()};
    linear_backward(in.data(), {&gradient, 1}, in.data(), n_tokens, m.nn);  // dx in x's place
    EXPECT_LT(relative_difference(in, want_dx), kTolerance);
    EXPECT_LT(relative_difference(layer.da, from_adapter.a), kTolerance);
    EXPECT_LT(relative_difference(layer.db, from_adapter.b), kTolerance);

    m.nn.random_key.reset();  // evaluation drops nothing
    linear_forward({&out, 1}, to_float(x).data(), n_tokens, m.nn);
    EXPECT_LT(relative_difference(y, linear_forward_reference(r, x, n_tokens)), kTolerance);
  }
}

// Rows beyond one task's and ranks beyond one register's, too; the same bits for any threads.
TEST(Embedding, NoiseIsUniformBySegmentAndAFunctionOfTheKey) {
  const int64_t n_embd = 33, n = 60;
  const std::vector<float> table(size_t(4 * n_embd));
  Embedding embedding{f32_matrix(table.data(), 4, n_embd), {}};
  const std::vector<AttentionSegment> segments = {{0, 50, 0, 50}, {50, 10, 50, 10}};
  const auto noise = [&](int n_threads, uint64_t key) {
    ThreadPool pool(n_threads);
    std::vector<float> x(size_t(n * n_embd));
    embedding_noise(x.data(), embedding, segments, {5, key}, pool);
    return x;
  };
  const std::vector<float> x = noise(1, 7);
  EXPECT_EQ(noise(3, 7), x);
  EXPECT_NE(noise(1, 8), x);
  for (const AttentionSegment& s : segments) {
    const double size = 5 / std::sqrt(double(s.n_q * n_embd));
    double sum = 0, squares = 0, largest = 0;
    for (int64_t i = s.q_begin * n_embd; i < (s.q_begin + s.n_q) * n_embd; ++i) {
      const double u = double(x[size_t(i)]) / size;
      sum += u, squares += u * u, largest = std::max(largest, std::abs(u));
    }
    const double n_numbers = double(s.n_q * n_embd);
    EXPECT_LE(largest, 1.000001);
    EXPECT_GT(largest, 0.98);
    EXPECT_NEAR(sum / n_numbers, 0, 4 / std::sqrt(3 * n_numbers));  // four standard errors
    EXPECT_NEAR(squares / n_numbers, 1.0 / 3, 4 * std::sqrt(4.0 / 45 / n_numbers));
  }
  embedding.factor = 3;  // the noise is the table's, before the factor
  EXPECT_NEAR(double(noise(1, 7)[5]), 3 * double(x[5]), 1e-6);
}

TEST(Embedding, ForwardAndAdapterGradientsAgreeWithTheReference) {
  struct Size {
    int64_t n_embd, rank;
  };
  for (const auto& [n_embd, rank] : {Size{8, 3}, Size{150, 8}, Size{70, 11}}) {
    const int64_t n_vocab = 11;
    // As a linear layer the table is W^T: (n_embd, n_vocab).
    const LinearReference<double> r = random_linear(n_vocab, n_embd, rank, 100);
    std::vector<float> table(size_t(n_vocab * n_embd));
    for (int64_t v = 0; v < n_vocab; ++v) {
      for (int64_t e = 0; e < n_embd; ++e)
        table[size_t(v * n_embd + e)] = float(r.w[size_t(e * n_vocab + v)]);
    }
    const std::vector<int32_t> ids = {3, 0, 10, 3, 7, 7, 3, 1, 0, 9, 3};
    const int64_t n = int64_t(ids.size());
    const Values hot = one_hot(ids, n_vocab), dx = random_values(110, n * n_embd);
    const auto d = linear_backward_reference(r, hot, dx, n);
    std::vector<float> da, db;
    for (const int n_threads : {1, 2, 3}) {
      Layer layer(r);
      const Embedding embedding{f32_matrix(table.data(), n_vocab, n_embd), layer.linear.loras};
      ThreadPool pool(n_threads);
      std::vector<float> x(size_t(n * n_embd));
      embedding_forward(x.data(), embedding, ids, {}, pool);
      EXPECT_LT(relative_difference(x, linear_forward_reference(r, hot, n)), kTolerance);

      GemmScratch scratch(n_threads);
      Arena arena(int64_t{1} << 20);
      NnContext nn{pool, GemmInput::f32, scratch, arena};
      embedding_backward(embedding, to_float(dx).data(), ids, nn);
      EXPECT_LT(relative_difference(layer.da, d.a), kTolerance);
      EXPECT_LT(relative_difference(layer.db, d.b), kTolerance);
      if (n_threads == 1) {
        da = layer.da;
        db = layer.db;
      }
      EXPECT_EQ(layer.da, da);
      EXPECT_EQ(layer.db, db);
    }
  }
}

// More tokens than a block of the head, with and without targets, in place.
TEST(Head, LossAndGradientsAgreeWithTheReference) {
  const int64_t n_embd = 24, n_vocab = 37, n = kHeadTokens + 40;
  const LinearReference<double> r = random_linear(n_embd, n_vocab, 4, 120);
  Layer layer(r);
  const Values x = random_values(130, n * n_embd);
  std::vector<int32_t> targets(static_cast<size_t>(n));
  for (size_t t = 0; t < targets.size(); ++t)
    targets[t] = t % 5 == 0 ? -1 : int32_t(random_bits(1, Purpose::test, 131, t) % n_vocab);
  Values logits = linear_forward_reference(r, x, n), want_losses(targets.size());
  for (size_t t = 0; t < targets.size(); ++t) {
    want_losses[t] =
        cross_entropy_backward_reference(&logits[t * size_t(n_vocab)], targets[t], 0.125, n_vocab);
  }
  const auto d = linear_backward_reference(r, x, logits, n);

  Machinery m;
  std::vector<float> stream = to_float(x);
  Values losses(targets.size());
  head_loss_forward(losses.data(), {layer.linear}, stream.data(), targets, m.nn);
  EXPECT_LT(relative_difference(losses, want_losses), kTolerance);
  head_loss_backward(stream.data(), losses.data(), {layer.linear}, stream.data(), targets, 0.125f, m.nn);
  EXPECT_LT(relative_difference(losses, want_losses), kTolerance);
  EXPECT_LT(relative_difference(stream, d.x), 1e-5);
  EXPECT_LT(relative_difference(layer.da, d.a), 1e-5);
  EXPECT_LT(relative_difference(layer.db, d.b), 1e-5);
}

// In floats and integers, with few tokens in the last block, and in all.
TEST(Head, AnyNumberOfTokensAtATimeGivesTheSameBits) {
  const int64_t n_embd = 64, n_vocab = 96;
  const test::Weights w = test::random_weights(Type::Q8_0, n_vocab, n_embd, 5);
  Linear layer;
  layer.w = w.view;
  for (const bool int8 : {false, true}) {
    for (const int64_t n : {5, 130, 300, 700}) {
      const std::vector<float> x = to_float(random_values(140, n * n_embd));
      std::vector<int32_t> targets(static_cast<size_t>(n));
      for (size_t t = 0; t < targets.size(); ++t) targets[t] = t % 9 == 4 ? -1 : int32_t(t % size_t(n_vocab));
      struct Result {
        Values losses, in_training;
        std::vector<float> dx;
        bool operator==(const Result&) const = default;
      };
      const auto run = [&](int64_t head_tokens) {
        Machinery m;
        m.nn.int8 = int8;
        m.nn.head_tokens = head_tokens;
        m.nn.random_key = 1;
        Result r = {Values(targets.size()), Values(targets.size()), x};
        head_loss_forward(r.losses.data(), {layer}, x.data(), targets, m.nn);
        head_loss_backward(r.dx.data(), r.in_training.data(), {layer}, x.data(), targets, 0.5f, m.nn);
        return r;
      };
      const Result want = run(kHeadTokens);
      EXPECT_EQ(want.losses, want.in_training) << n;
      for (const int64_t head_tokens : {2 * kHeadTokens, kMostHeadTokens})
        EXPECT_EQ(run(head_tokens), want) << n << " tokens, " << head_tokens << " at a time, int8 " << int8;
    }
  }
}

}  // namespace nn_test
}  // namespace lora
