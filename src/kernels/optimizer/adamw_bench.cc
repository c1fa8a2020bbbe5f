// AdamW on 16 million parameters (more than fits the cache): bytes read and written per second.
#include <benchmark/benchmark.h>

#include <vector>

#include "kernels/optimizer/adamw.h"

namespace lora {
namespace {

constexpr int64_t kSize = 16 << 20;

void update(benchmark::State& state) {
  std::vector<float> p(kSize, 0.5f), m(p), v(p), g(p);
  ThreadPool pool(1);
  for (auto _ : state) adamw_update(p.data(), m.data(), v.data(), g.data(), kSize, {.decay = 0.1}, pool);
  state.SetBytesProcessed(state.iterations() * kSize * 7 * 4);
}
BENCHMARK(update);

void norm(benchmark::State& state) {
  const std::vector<float> g(kSize, 0.5f);
  ThreadPool pool(1);
  for (auto _ : state) benchmark::DoNotOptimize(sum_of_squares(g.data(), kSize, pool));
  state.SetBytesProcessed(state.iterations() * kSize * 4);
}
BENCHMARK(norm);

}  // namespace
}  // namespace lora
