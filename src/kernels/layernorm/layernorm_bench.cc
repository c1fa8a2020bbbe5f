// Layer normalization of 512 tokens. Argument: n_embd.
#include <vector>

#include "kernels/bench_report.h"
#include "kernels/layernorm/layernorm.h"

namespace lora {
namespace {

constexpr int64_t kTokens = 512;

void forward(benchmark::State& state) {
  const int64_t n = state.range(0), bytes = 2 * kTokens * n * 4;
  std::vector<float> x(size_t(kTokens * n), 0.5f), y(x), w(size_t(n), 1.0f), b(w);
  ThreadPool pool(1);
  const double s = bench::run(
      state, [&] { layer_norm_forward(y.data(), x.data(), w.data(), b.data(), 1e-5f, kTokens, n, pool); });
  bench::report_bytes(state, s, bytes, bytes);
}
BENCHMARK(forward)->Arg(256)->Arg(3072)->Arg(8192);

// dx is read and written.
void backward(benchmark::State& state) {
  const int64_t n = state.range(0), bytes = kTokens * n * 4;
  std::vector<float> x(size_t(kTokens * n), 0.5f), dy(x), dx(x), w(size_t(n), 1.0f);
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    layer_norm_backward(dx.data(), dy.data(), x.data(), w.data(), 1e-5f, kTokens, n, true, pool);
  });
  bench::report_bytes(state, s, 4 * bytes, 3 * bytes);
}
BENCHMARK(backward)->Arg(256)->Arg(3072)->Arg(8192);

}  // namespace
}  // namespace lora
