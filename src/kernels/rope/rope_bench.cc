// Rotary embedding of 512 tokens of 32 heads of 128: bytes read and written per second.
#include <benchmark/benchmark.h>

#include <numeric>

#include "kernels/rope/rope.h"

namespace lora {
namespace {

void apply(benchmark::State& state, RopeStyle style) {
  constexpr int64_t kTokens = 512, kHeads = 32, kDim = 128;
  const RopeTable table = make_rope_table({.n_rot = kDim}, kTokens);
  std::vector<float> x(size_t(kTokens * kHeads * kDim), 0.5f);
  std::vector<int32_t> positions(kTokens);
  std::iota(positions.begin(), positions.end(), 0);
  ThreadPool pool(1);
  for (auto _ : state) {
    rope_apply(x.data(), positions.data(), kTokens, kHeads, kDim, table, style, false, pool);
  }
  state.SetBytesProcessed(state.iterations() * int64_t(x.size()) * 2 * 4);
}
BENCHMARK_CAPTURE(apply, interleaved, RopeStyle::interleaved);
BENCHMARK_CAPTURE(apply, halves, RopeStyle::halves);

void table(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(make_rope_table({.n_rot = 128}, 4096));
  state.SetItemsProcessed(state.iterations() * 4096 * 64);
}
BENCHMARK(table);

}  // namespace
}  // namespace lora
