// Attention of 32 heads: what the masks leave alone counts (2 products forward, 5 backward; what is computed
// twice counts once). Arguments: head_dim, ctx, n_head_kv, window, softcap; 100 and 32 is a 3B model, 128 and
// 32 a 7B, 128 and 8 an 8B.
#include <algorithm>
#include <cmath>
#include <string>
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
  Problem(int64_t head_dim, int64_t ctx, int64_t n_head_kv, int64_t n_q, int64_t window = 0,
          float softcap = 0)
      : shape{kHeads, n_head_kv, head_dim, 1 / std::sqrt(float(head_dim)), window, softcap},
        segment{0, n_q, 0, ctx},
        q(numbers(n_q * kHeads * head_dim, 1)),
        k(numbers(ctx * n_head_kv * head_dim, 2)),
        v(numbers(ctx * n_head_kv * head_dim, 3)),
        out(q.size()),
        lse(n_q * kHeads),
        scratch(attention_scratch_bytes(shape, ctx, true, kInput, 1)) {}
  // Multiply-adds of one product, times two.
  double flops() const {
    const int64_t most = shape.window > 0 ? shape.window : segment.n_kv;
    double pairs = 0;
    for (int64_t i = 0; i < segment.n_q; ++i) pairs += double(std::min(most, segment.n_kv - i));
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
      b->Args({head_dim, ctx, n_head_kv, 0, 0});
    }
  }
  for (const int64_t ctx : {4096, 8192}) {
    for (const int64_t window : {0, 1024}) b->Args({128, ctx, 8, window, 0});
  }
  for (const int64_t softcap : {0, 50}) b->Args({256, 2048, 8, 0, softcap});
  b->Unit(benchmark::kMillisecond);
}

void forward(benchmark::State& state) {
  Problem p(state.range(0), state.range(1), state.range(2), state.range(1), state.range(3),
            float(state.range(4)));
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    attention_forward(p.out.data(), p.lse.data(), p.q.data(), p.k.data(), p.v.data(), {&p.segment, 1},
                      p.shape, kInput, p.scratch.span(), pool);
  });
  bench::report_flops(state, s, kInput, 2 * p.flops());
}
BENCHMARK(forward)->Apply(shapes);

void backward(benchmark::State& state) {
  Problem p(state.range(0), state.range(1), state.range(2), state.range(1), state.range(3),
            float(state.range(4)));
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

// One new token against the cache, as in generation: bytes of keys and values per second. Arguments:
// head_dim, ctx, n_head_kv, window, the cache's type.
void one_query(benchmark::State& state) {
  Problem p(state.range(0), state.range(1), state.range(2), 1, state.range(3));
  ThreadPool pool(1);
  const auto type = Type(state.range(4));
  MatrixView k{type, nullptr, p.segment.n_kv, p.shape.n_head_kv * p.shape.head_dim}, v = k;
  Buffer<std::byte> k_bytes(k.n_rows * k.row_bytes()), v_bytes(k_bytes.size());
  traits(type).encode(k_bytes.data(), p.k.data(), p.k.size(), nullptr);
  traits(type).encode(v_bytes.data(), p.v.data(), p.v.size(), nullptr);
  k.data = k_bytes.data();
  v.data = v_bytes.data();
  const double s = bench::run(state, [&] {
    attention_forward(p.out.data(), p.q.data(), k, v, {&p.segment, 1}, p.shape, kInput, p.scratch.span(),
                      pool);
  });
  const int64_t seen = state.range(3) > 0 ? state.range(3) : state.range(1);
  bench::report_read(state, s, 2 * k.row_bytes() * seen, {k, v});
  state.SetLabel(std::string(traits(type).name));
}
void cache_shapes(benchmark::internal::Benchmark* b) {
  for (const Type type : {Type::F32, Type::F16, Type::Q8_0}) {
    b->Args({128, 512, 32, 0, int64_t(type)});
    for (const int64_t n_head_kv : {32, 8}) b->Args({128, 4096, n_head_kv, 0, int64_t(type)});
    b->Args({128, 4096, 8, 1024, int64_t(type)});
  }
  b->Args({100, 512, 32, 0, int64_t(Type::F32)});
}
BENCHMARK(one_query)->Apply(cache_shapes);

}  // namespace
}  // namespace lora
