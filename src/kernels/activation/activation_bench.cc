// Activations of 128 tokens, gated. Arguments: n_ff, which activation.
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/bench_report.h"

namespace lora {
namespace {

constexpr int64_t kTokens = 128;
constexpr const char* kNames[] = {"silu", "gelu", "gelu_tanh", "relu", "relu_squared"};

void all(benchmark::internal::Benchmark* b) {
  for (int a = 0; a < 5; ++a) b->Args({11008, a});
  b->Args({8640, 0});
}

void forward(benchmark::State& state) {
  const int64_t n = kTokens * state.range(0);
  const auto activation = Activation(state.range(1));
  std::vector<float> gate(size_t(n), 0.5f), up(gate), y(gate);
  ThreadPool pool(1);
  const double s =
      bench::run(state, [&] { gated_forward(y.data(), gate.data(), up.data(), n, activation, pool); });
  bench::report_bytes(state, s, n * 3 * 4, n * 3 * 4);
  state.SetLabel(kNames[state.range(1)]);
}
BENCHMARK(forward)->Apply(all);

void backward(benchmark::State& state) {
  const int64_t n = kTokens * state.range(0);
  const auto activation = Activation(state.range(1));
  std::vector<float> gate(size_t(n), 0.5f), up(gate), dy(gate), dgate(gate), dup(gate);
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    gated_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n, activation, pool);
  });
  bench::report_bytes(state, s, n * 5 * 4, n * 5 * 4);
  state.SetLabel(kNames[state.range(1)]);
}
BENCHMARK(backward)->Apply(all);

}  // namespace
}  // namespace lora
