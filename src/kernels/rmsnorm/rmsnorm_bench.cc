// RMS normalization of 512 tokens. Arguments: n_embd; rows a token, more than one for heads.
#include <vector>

#include "kernels/bench_report.h"
#include "kernels/rmsnorm/rmsnorm.h"

namespace lora {
namespace {

constexpr int64_t kTokens = 512;

void shapes(benchmark::internal::Benchmark* b) {
  for (int64_t n : {256, 3200, 4096}) b->Args({n, 1});
  for (int64_t n : {64, 80, 128, 256}) b->Args({n, 32});
}

void forward(benchmark::State& state) {
  const int64_t n = state.range(0), rows = kTokens * state.range(1), bytes = 2 * rows * n * 4;
  std::vector<float> x(size_t(rows * n), 0.5f), y(x), w(size_t(n), 1.0f);
  ThreadPool pool(1);
  const double s =
      bench::run(state, [&] { rms_norm_forward(y.data(), x.data(), w.data(), 1e-5f, rows, n, pool); });
  bench::report_bytes(state, s, bytes, bytes);
}
BENCHMARK(forward)->Apply(shapes);

// dx is read and written.
void backward(benchmark::State& state) {
  const int64_t n = state.range(0), rows = kTokens * state.range(1), bytes = rows * n * 4;
  std::vector<float> x(size_t(rows * n), 0.5f), dy(x), dx(x), w(size_t(n), 1.0f);
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    rms_norm_backward(dx.data(), dy.data(), x.data(), w.data(), 1e-5f, rows, n, true, pool);
  });
  bench::report_bytes(state, s, 4 * bytes, 3 * bytes);
}
BENCHMARK(backward)->Apply(shapes);

}  // namespace
}  // namespace lora
