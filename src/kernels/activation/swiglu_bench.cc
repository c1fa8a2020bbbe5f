// SwiGLU of 128 tokens. Argument: n_ff.
#include <vector>

#include "kernels/activation/swiglu.h"
#include "kernels/bench_report.h"

namespace lora {
namespace {

constexpr int64_t kTokens = 128;

void forward(benchmark::State& state) {
  const int64_t n = kTokens * state.range(0);
  std::vector<float> gate(size_t(n), 0.5f), up(gate), y(gate);
  ThreadPool pool(1);
  const double s = bench::run(state, [&] { swiglu_forward(y.data(), gate.data(), up.data(), n, pool); });
  bench::report_bytes(state, s, n * 3 * 4, n * 3 * 4);
}
BENCHMARK(forward)->Arg(8640)->Arg(11008);

void backward(benchmark::State& state) {
  const int64_t n = kTokens * state.range(0);
  std::vector<float> gate(size_t(n), 0.5f), up(gate), dy(gate), dgate(gate), dup(gate);
  ThreadPool pool(1);
  const double s = bench::run(
      state, [&] { swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n, pool); });
  bench::report_bytes(state, s, n * 5 * 4, n * 5 * 4);
}
BENCHMARK(backward)->Arg(8640)->Arg(11008);

}  // namespace
}  // namespace lora
