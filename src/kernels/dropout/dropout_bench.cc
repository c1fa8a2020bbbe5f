// A layer's input of 512 tokens, one thread. Argument: n_cols.
#include <vector>

#include "kernels/bench_report.h"
#include "kernels/dropout/dropout.h"

namespace lora {
namespace {

void apply(benchmark::State& state) {
  const int64_t n = state.range(0), n_tokens = 512, bytes = 2 * n_tokens * n * 4;
  const std::vector<float> x(size_t(n_tokens * n), 0.5f);
  std::vector<float> y(x.size());
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    dropout_apply(y.data(), x.data(), n_tokens, n, {0.1f, 1}, false, pool);
  });
  bench::report_bytes(state, s, bytes, bytes);
}
BENCHMARK(apply)->Arg(3200)->Arg(8640);

}  // namespace
}  // namespace lora
