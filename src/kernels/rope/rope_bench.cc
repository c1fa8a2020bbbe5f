// Rotary embedding of 512 tokens of 32 heads, in place. Argument: head_dim.
#include <numeric>
#include <vector>

#include "kernels/bench_report.h"
#include "kernels/rope/rope.h"

namespace lora {
namespace {

void apply(benchmark::State& state, RopeStyle style) {
  constexpr int64_t kTokens = 512, kHeads = 32;
  const int64_t dim = state.range(0), bytes = kTokens * kHeads * dim * 4;
  const RopeTable table = make_rope_table({.n_rot = dim}, kTokens);
  std::vector<float> x(size_t(kTokens * kHeads * dim), 0.5f);
  std::vector<int32_t> positions(kTokens);
  std::iota(positions.begin(), positions.end(), 0);
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    rope_apply(x.data(), positions.data(), kTokens, kHeads, dim, table, style, false, pool);
  });
  bench::report_bytes(state, s, 2 * bytes, bytes);
}
BENCHMARK_CAPTURE(apply, interleaved, RopeStyle::interleaved)->Arg(100)->Arg(128);
BENCHMARK_CAPTURE(apply, halves, RopeStyle::halves)->Arg(100)->Arg(128);

void table(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(make_rope_table({.n_rot = 128}, 4096));
  state.SetItemsProcessed(state.iterations() * 4096 * 64);
}
BENCHMARK(table);

}  // namespace
}  // namespace lora
