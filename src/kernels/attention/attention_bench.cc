// Attention of 32 heads: GFLOP/s of the causal half alone (2 products forward, 5 backward; what is
// computed twice counts once). Arguments: head_dim, ctx, n_head_kv.
#include <benchmark/benchmark.h>

#include <cmath>

#include "base/buffer.h"
#include "base/random.h"
#include "kernels/attention/attention.h"

namespace lora {
namespace {

constexpr int64_t kHeads = 32;
const GemmInput kInput = gemm_input(Precision::automatic);

Buffer<float> numbers(int64_t n, uint64_t stream) {
  Buffer<float> result(n);
  for (int64_t i = 0; i < n; ++i) result[i] = random_uniform(1, Purpose::test, stream, uint64_t(i)) - 0.5f;
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

void rate(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

void forward(benchmark::State& state) {
  Problem p(state.range(0), state.range(1), state.range(2), state.range(1));
  ThreadPool pool(1);
  for (auto _ : state) {
    attention_forward(p.out.data(), p.lse.data(), p.q.data(), p.k.data(), p.v.data(), {&p.segment, 1},
                      p.shape, kInput, p.scratch.span(), pool);
  }
  rate(state, 2 * p.flops());
}
BENCHMARK(forward)->Args({128, 128, 8})->Args({128, 512, 8})->Args({128, 512, 32})->Args({128, 2048, 8});
BENCHMARK(forward)->Args({64, 512, 8})->Args({80, 512, 32})->Args({100, 512, 32});

void backward(benchmark::State& state) {
  Problem p(state.range(0), state.range(1), state.range(2), state.range(1));
  ThreadPool pool(1);
  const Buffer<float> dout = numbers(p.q.size(), 4);
  Buffer<float> dq(p.q.size()), dk(p.k.size()), dv(p.v.size());
  attention_forward(p.out.data(), p.lse.data(), p.q.data(), p.k.data(), p.v.data(), {&p.segment, 1}, p.shape,
                    kInput, p.scratch.span(), pool);
  for (auto _ : state) {
    attention_backward(dq.data(), dk.data(), dv.data(), dout.data(), p.out.data(), p.lse.data(), p.q.data(),
                       p.k.data(), p.v.data(), {&p.segment, 1}, p.shape, kInput, p.scratch.span(), pool);
  }
  rate(state, 5 * p.flops());
}
BENCHMARK(backward)->Args({128, 128, 8})->Args({128, 512, 8})->Args({128, 512, 32})->Args({128, 2048, 8});
BENCHMARK(backward)->Args({64, 512, 8})->Args({80, 512, 32})->Args({100, 512, 32});

// One new token against the cache, as in generation: bytes of keys and values per second.
void one_query(benchmark::State& state) {
  Problem p(state.range(0), state.range(1), state.range(2), 1);
  ThreadPool pool(1);
  for (auto _ : state) {
    attention_forward(p.out.data(), nullptr, p.q.data(), p.k.data(), p.v.data(), {&p.segment, 1}, p.shape,
                      kInput, p.scratch.span(), pool);
  }
  state.SetBytesProcessed(state.iterations() * 2 * p.k.size() * int64_t(sizeof(float)));
  rate(state, 2 * p.flops());
}
BENCHMARK(one_query)->Args({128, 512, 32})->Args({128, 4096, 32})->Args({128, 4096, 8});

}  // namespace
}  // namespace lora
