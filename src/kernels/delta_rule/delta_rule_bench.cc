// The gated delta rule as in a layer of Qwen3.5-4B: 16 key heads, 32 value heads of 128. Argument: tokens of
// one segment; for `append`, tokens at once. Operations are those of the chunked form, what is computed twice
// once.
#include <cmath>

#include "base/buffer.h"
#include "base/random.h"
#include "kernels/bench_report.h"
#include "kernels/delta_rule/delta_rule.h"

namespace lora {
namespace {

struct Problem {
  explicit Problem(int64_t n)
      : n_tokens(n),
        row(2 * 16 * 128 + 32 * 128),
        qkv(n * row),
        g(n * 32),
        beta(n * 32),
        out(n * 32 * 128),
        dout(out.size()),
        dqkv(qkv.size()),
        dg(g.size()),
        dbeta(g.size()),
        states(32 * 128 * 128),
        kept(delta_rule_kept_size(shape, n) + 1),
        scratch(delta_rule_scratch_bytes(shape, true, 1)) {
    for (Buffer<float>* x : {&qkv, &dout, &beta}) {
      for (int64_t i = 0; i < x->size(); ++i)
        (*x)[i] = random_uniform(1, Purpose::test, 1, uint64_t(i) % 10007) - (x == &beta ? 0.0f : 0.5f);
    }
    std::fill_n(g.data(), g.size(), -0.1f);
  }
  DeltaRuleInput in() const {
    return {qkv.data(), qkv.data() + 2048, qkv.data() + 4096, row, g.data(), beta.data()};
  }
  // Products with states, and of rows with one another, of which half are needed.
  double flops(double with_states, double of_rows) const {
    return 2 * 32 * double(n_tokens) * (with_states * 128 * 128 + of_rows * kDeltaChunk / 2 * 128);
  }
  DeltaRuleShape shape{16, 32, 128, 128, true, float(1 / std::sqrt(128.0))};
  int64_t n_tokens, row;
  Buffer<float> qkv, g, beta, out, dout, dqkv, dg, dbeta, states, kept;
  Buffer<std::byte> scratch;
};

void forward(benchmark::State& state) {
  Problem p(state.range(0));
  const AttentionSegment segment{0, p.n_tokens, 0, p.n_tokens};
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    delta_rule_forward(p.out.data(), p.kept.data(), p.in(), {&segment, 1}, p.shape, p.scratch.span(), pool);
  });
  bench::report_flops(state, s, GemmInput::f32, p.flops(3, 3));
}
BENCHMARK(forward)->Arg(512)->Arg(2048)->Unit(benchmark::kMillisecond);

void backward(benchmark::State& state) {
  Problem p(state.range(0));
  const AttentionSegment segment{0, p.n_tokens, 0, p.n_tokens};
  ThreadPool pool(1);
  delta_rule_forward(p.out.data(), p.kept.data(), p.in(), {&segment, 1}, p.shape, p.scratch.span(), pool);
  const double s = bench::run(state, [&] {
    delta_rule_backward(
        {p.dqkv.data(), p.dqkv.data() + 2048, p.dqkv.data() + 4096, p.dg.data(), p.dbeta.data()},
        p.dout.data(), p.out.data(), p.kept.data(), p.in(), {&segment, 1}, p.shape, p.scratch.span(), pool);
  });
  bench::report_flops(state, s, GemmInput::f32, p.flops(8, 8));
}
BENCHMARK(backward)->Arg(512)->Arg(2048)->Unit(benchmark::kMillisecond);

void append(benchmark::State& state) {
  Problem p(state.range(0));
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    delta_rule_append(p.out.data(), p.states.data(), p.in(), p.n_tokens, p.shape, p.scratch.span(), pool);
  });
  const double bytes = double(p.states.size()) * 4;
  bench::report_bytes(state, s, int64_t(3 * bytes), int64_t(bytes));
}
BENCHMARK(append)->Arg(1)->Arg(4)->Arg(7)->Arg(8)->Arg(16)->Arg(64)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace lora
