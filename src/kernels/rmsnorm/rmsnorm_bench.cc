// RMS normalization of 512 tokens: bytes read and written per second. Argument: n_embd.
#include <benchmark/benchmark.h>

#include <vector>

#include "kernels/rmsnorm/rmsnorm.h"

namespace lora {
namespace {

constexpr int64_t kTokens = 512;

void forward(benchmark::State& state) {
  const int64_t n = state.range(0);
  std::vector<float> x(size_t(kTokens * n), 0.5f), y(x), w(size_t(n), 1.0f);
  ThreadPool pool(1);
  for (auto _ : state) rms_norm_forward(y.data(), x.data(), w.data(), 1e-5f, kTokens, n, pool);
  state.SetBytesProcessed(state.iterations() * 2 * kTokens * n * 4);
}
BENCHMARK(forward)->Arg(256)->Arg(2048)->Arg(4096);

void backward(benchmark::State& state) {
  const int64_t n = state.range(0);
  std::vector<float> x(size_t(kTokens * n), 0.5f), dy(x), dx(x), w(size_t(n), 1.0f);
  ThreadPool pool(1);
  for (auto _ : state) {
    rms_norm_backward(dx.data(), dy.data(), x.data(), w.data(), 1e-5f, kTokens, n, true, pool);
  }
  state.SetBytesProcessed(state.iterations() * 4 * kTokens * n * 4);
}
BENCHMARK(backward)->Arg(256)->Arg(2048)->Arg(4096);

}  // namespace
}  // namespace lora
