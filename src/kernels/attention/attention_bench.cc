// Attention of 32 heads: the causal half alone counts (2 products forward, 5 backward; what is computed twice
// counts once). Arguments: head_dim, ctx, n_head_kv; 100 and 32 is a 3B model, 128 and 32 a 7B, 128 and 8 an
// 8B.
#include <cmath>
#include <utility>

#include "base/buffer.h"
#include "base/random.h"
#include "kernels/attention/attention.h"
#include "kernels/bench_report.h"

namespace lora {
namespace {

constexpr int64_t kHeads = 32;
const GemmInput kInput = gemm_input(Precision::automatic);

// A period of random numbers, which suffices for the time.
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
  Problem(int64_t head_dim, int64_t ctx, int64_t n_head_kv, int64_t n_q)
      : shape{kHeads, n_head_kv, head_dim, 1 / std::sqrt(float(head_dim))},
        segment{0, n_q, 0, ctx},
        q(numbers(n_q * kHeads * head_dim, 1)),
        k(numbers(ctx * n_head_kv * head_dim, 2)),
        v(numbers(ctx * n_head_kv * head_dim, 3)),
        out(q.size()),
        lse(n_q * kHeads),
        scratch(attention_scratch_bytes(shape, ctx, true, kInput, 1)) {}
  // Multiply-adds of one product, times two.
  double flops() const {
    const double pairs = double(segment.n_q) * (double(segment.n_kv) - (double(segment.n_q) - 1) / 2);
    return 2 * pairs * double(kHeads * shape.head_dim);
  }
  AttentionShape shape;
  AttentionSegment segment;
  Buffer<float> q, k, v, out, lse;
  Buffer<std::byte> scratch;
};

void shapes(benchmark::internal::Benchmark* b) {
  for (const int64_t ctx : {256, 512, 1024, 2048, 4096}) {
    for (const auto& [head_dim, n_head_kv] : {std::pair<int64_t, int64_t>{100, 32}, {128, 32}, {128, 8}}) {
      if (n_head_kv == 8 && ctx > 1024) continue;
      b->Args({head_dim, ctx, n_head_kv});
    }
  }
  b->Unit(benchmark::kMillisecond);
}

void forward(benchmark::State& state) {
  Problem p(state.range(0), state.range(1), state.range(2), state.range(1));
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    attention_forward(p.out.data(), p.lse.data(), p.q.data(), p.k.data(), p.v.data(), {&p.segment, 1},
                      p.shape, kInput, p.scratch.span(), pool);
  });
  bench::report_flops(state, s, kInput, 2 * p.flops());
}
BENCHMARK(forward)->Apply(shapes);

void backward(benchmark::State& state) {
  Problem p(state.range(0), state.range(1), state.range(2), state.range(1));
  ThreadPool pool(1);
  const Buffer<float> dout = numbers(p.q.size(), 4);
  Buffer<float> dq(p.q.size()), dk(p.k.size()), dv(p.v.size());
  attention_forward(p.out.data(), p.lse.data(), p.q.data(), p.k.data(), p.v.data(), {&p.segment, 1}, p.shape,
                    kInput, p.scratch.span(), pool);
  const double s = bench::run(state, [&] {
    attention_backward(dq.data(), dk.data(), dv.data(), dout.data(), p.out.data(), p.lse.data(), p.q.data(),
                       p.k.data(), p.v.data(), {&p.segment, 1}, p.shape, kInput, p.scratch.span(), pool);
  });
  bench::report_flops(state, s, kInput, 5 * p.flops());
}
BENCHMARK(backward)->Apply(shapes);

// One new token against the cache, as in generation: bytes of keys and values per second.
void one_query(benchmark::State& state) {
  Problem p(state.range(0), state.range(1), state.range(2), 1);
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    attention_forward(p.out.data(), nullptr, p.q.data(), p.k.data(), p.v.data(), {&p.segment, 1}, p.shape,
                      kInput, p.scratch.span(), pool);
  });
  const MatrixView k{Type::F32, reinterpret_cast<const std::byte*>(p.k.data()), 1, p.k.size()};
  const MatrixView v{Type::F32, reinterpret_cast<const std::byte*>(p.v.data()), 1, p.v.size()};
  bench::report_read(state, s, 2 * k.row_bytes(), {k, v});
}
BENCHMARK(one_query)->Args({100, 512, 32})->Args({128, 512, 32})->Args({128, 4096, 32})->Args({128, 4096, 8});

}  // namespace
}  // namespace lora
