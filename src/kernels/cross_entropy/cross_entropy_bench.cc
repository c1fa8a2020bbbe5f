// Loss and gradient of 32 rows: bytes of logits per second. Argument: n_vocab.
#include <benchmark/benchmark.h>

#include <vector>

#include "kernels/cross_entropy/cross_entropy.h"

namespace lora {
namespace {

constexpr int64_t kRows = 32;

void forward(benchmark::State& state) {
  const int64_t n_vocab = state.range(0);
  const std::vector<float> logits(size_t(kRows * n_vocab), 0.5f);
  const std::vector<int32_t> targets(kRows, 1);
  std::vector<double> losses(kRows);
  ThreadPool pool(1);
  for (auto _ : state) {
    cross_entropy_forward(losses.data(), logits.data(), targets.data(), kRows, n_vocab, pool);
  }
  state.SetBytesProcessed(state.iterations() * kRows * n_vocab * 4);
}
BENCHMARK(forward)->Arg(4096)->Arg(32000)->Arg(128256);

void backward(benchmark::State& state) {
  const int64_t n_vocab = state.range(0);
  std::vector<float> logits(size_t(kRows * n_vocab), 0.5f);
  const std::vector<int32_t> targets(kRows, 1);
  std::vector<double> losses(kRows);
  ThreadPool pool(1);
  for (auto _ : state) {
    cross_entropy_backward(logits.data(), losses.data(), targets.data(), 1, kRows, n_vocab, pool);
  }
  state.SetBytesProcessed(state.iterations() * kRows * n_vocab * 4);
}
BENCHMARK(backward)->Arg(4096)->Arg(32000)->Arg(128256);

}  // namespace
}  // namespace lora
