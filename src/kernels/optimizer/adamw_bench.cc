// AdamW and the gradient's norm. Argument: parameters, 6.4 million (a 3B model's LoRA of rank 4) to 51
// million (rank 32), more than fits the cache.
#include <vector>

#include "kernels/bench_report.h"
#include "kernels/optimizer/adamw.h"

namespace lora {
namespace {

// p, m and v are read and written, g is read.
void update(benchmark::State& state) {
  const int64_t n = state.range(0);
  std::vector<float> p(size_t(n), 0.5f), m(p), v(p), g(p);
  ThreadPool pool(1);
  const double s = bench::run(
      state, [&] { adamw_update(p.data(), m.data(), v.data(), g.data(), n, {.decay = 0.1}, pool); });
  bench::report_bytes(state, s, n * 7 * 4, n * 4 * 4);
}
BENCHMARK(update)->Arg(6400000)->Arg(51000000);

void norm(benchmark::State& state) {
  const std::vector<float> g(size_t(state.range(0)), 0.5f);
  const MatrixView as_weights{Type::F32, reinterpret_cast<const std::byte*>(g.data()), 1, state.range(0)};
  ThreadPool pool(1);
  const double s =
      bench::run(state, [&] { benchmark::DoNotOptimize(sum_of_squares(g.data(), state.range(0), pool)); });
  bench::report_read(state, s, as_weights.row_bytes(), {as_weights});
}
BENCHMARK(norm)->Arg(6400000)->Arg(51000000);

}  // namespace
}  // namespace lora
