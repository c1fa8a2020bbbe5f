// The scan with the heads of Granite 4 H Tiny (48 of 64, a state of 128, one group): forward, backward, and
// one token. Argument: tokens.
#include "base/buffer.h"
#include "base/random.h"
#include "kernels/bench_report.h"
#include "kernels/ssd/ssd.h"

namespace lora {
namespace {

const GemmInput kInput = gemm_input(Precision::automatic);
constexpr SsdShape kShape{48, 64, 1, 128};

Buffer<float> numbers(int64_t n, uint64_t stream) {
  constexpr int64_t kPeriod = 10007;
  Buffer<float> result(n);
  for (int64_t i = 0; i < n; ++i) {
    result[i] =
        i < kPeriod ? random_uniform(1, Purpose::test, stream, uint64_t(i)) - 0.5f : result[i - kPeriod];
  }
  return result;
}

struct Problem {
  explicit Problem(int64_t n)
      : n_tokens(n),
        xbc(numbers(n * kRow, 1)),
        dt(numbers(n * kShape.n_head, 2)),
        a(kShape.n_head),
        d(kShape.n_head),
        y(n * kX),
        state(kX * kShape.n_state),
        scratch(ssd_scratch_bytes(kShape, n, true, kInput, 1)) {
    for (int64_t h = 0; h < kShape.n_head; ++h) a[h] = -1, d[h] = 1;
  }
  SsdInput in() const {
    return {xbc.data(), xbc.data() + kX, xbc.data() + kX + kShape.n_state, kRow, dt.data(), kShape.n_head};
  }
  SsdHeads heads() const { return {a.data(), d.data(), d.data()}; }
  // Products with what lies within a chunk, which half of the pairs need, and with states.
  double flops(double within, double states) const {
    return 2 * double(n_tokens * kX) * (within * 48 + states * double(kShape.n_state));
  }
  static constexpr int64_t kX = kShape.n_head * kShape.head_dim, kRow = kX + 2 * kShape.n_state;
  int64_t n_tokens;
  Buffer<float> xbc, dt, a, d, y, state;
  Buffer<std::byte> scratch;
};

void forward(benchmark::State& state) {
  Problem p(state.range(0));
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    ssd_forward(p.y.data(), p.in(), p.heads(), kShape, p.n_tokens, nullptr, kInput, p.scratch.span(), pool);
  });
  bench::report_flops(state, s, kInput, p.flops(1, 2));
}
BENCHMARK(forward)->Arg(96)->Arg(512)->Arg(2048)->Unit(benchmark::kMillisecond);

void backward(benchmark::State& state) {
  Problem p(state.range(0));
  ThreadPool pool(1);
  const Buffer<float> dy = numbers(p.n_tokens * p.kX, 3);
  Buffer<float> dxbc(p.xbc.size()), ddt(p.dt.size());
  const SsdGradient g{dxbc.data(), dxbc.data() + p.kX, dxbc.data() + p.kX + kShape.n_state,
                      p.kRow,      ddt.data(),         kShape.n_head};
  const double s = bench::run(state, [&] {
    ssd_backward(g, dy.data(), p.in(), p.heads(), kShape, p.n_tokens, kInput, p.scratch.span(), pool);
  });
  bench::report_flops(state, s, kInput, p.flops(2, 5));
}
BENCHMARK(backward)->Arg(96)->Arg(512)->Arg(2048)->Unit(benchmark::kMillisecond);

void one_token(benchmark::State& state) {
  Problem p(1);
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    ssd_forward(p.y.data(), p.in(), p.heads(), kShape, 1, p.state.data(), kInput, p.scratch.span(), pool);
  });
  state.counters["GB/s of states"] = double(p.state.size()) * sizeof(float) / s / 1e9;
}
BENCHMARK(one_token)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace lora
