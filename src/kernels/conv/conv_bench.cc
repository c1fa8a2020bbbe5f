// Causal convolution of 512 tokens. Arguments: channels; taps; whether SiLU follows.
#include <vector>

#include "kernels/bench_report.h"
#include "kernels/conv/conv.h"

namespace lora {
namespace {

constexpr int64_t kTokens = 512;
const AttentionSegment kAll = {0, kTokens, 0, kTokens};

void shapes(benchmark::internal::Benchmark* b) {
  b->Args({2048, 3, 0});                                     // LFM2-2.6B
  for (int64_t n : {3328, 8192, 10240}) b->Args({n, 4, 1});  // Granite-4-h-tiny, Qwen3.5, Falcon-H1
}

void forward(benchmark::State& state) {
  const int64_t n = state.range(0), d_conv = state.range(1), bytes = 2 * kTokens * n * 4;
  std::vector<float> x(size_t(kTokens * n), 0.5f), y(x), w(size_t(n * d_conv), 0.1f);
  ThreadPool pool(1);
  const ConvForm form = {w.data(), nullptr, n, d_conv, state.range(2) != 0};
  const double s = bench::run(state, [&] {
    causal_conv_forward(y.data(), n, x.data(), n, {&kAll, 1}, form, pool);
  });
  bench::report_bytes(state, s, bytes, bytes);
}
BENCHMARK(forward)->Apply(shapes);

// x is read only with SiLU.
void backward(benchmark::State& state) {
  const int64_t n = state.range(0), d_conv = state.range(1),
                bytes = (state.range(2) ? 3 : 2) * kTokens * n * 4;
  std::vector<float> x(size_t(kTokens * n), 0.5f), dy(x), dx(x), w(size_t(n * d_conv), 0.1f);
  ThreadPool pool(1);
  const ConvForm form = {w.data(), nullptr, n, d_conv, state.range(2) != 0};
  const double s = bench::run(state, [&] {
    causal_conv_backward(dx.data(), n, dy.data(), n, x.data(), n, {&kAll, 1}, form, pool);
  });
  bench::report_bytes(state, s, bytes, bytes);
}
BENCHMARK(backward)->Apply(shapes);

// A token of generation: everything is in the cache.
void next(benchmark::State& state) {
  const int64_t n = state.range(0), d_conv = state.range(1), bytes = (2 * d_conv + 2) * n * 4;
  std::vector<float> x(size_t(n), 0.5f), y(x), before(size_t(n * (d_conv - 1))), w(size_t(n * d_conv), 0.1f);
  ThreadPool pool(1);
  const ConvForm form = {w.data(), nullptr, n, d_conv, state.range(2) != 0};
  const double s =
      bench::run(state, [&] { causal_conv_next(y.data(), n, before.data(), x.data(), n, 1, form, pool); });
  bench::report_bytes(state, s, bytes, bytes);
}
BENCHMARK(next)->Apply(shapes);

}  // namespace
}  // namespace lora
