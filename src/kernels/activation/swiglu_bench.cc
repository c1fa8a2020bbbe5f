// SwiGLU of 128 tokens with n_ff = 8192: bytes read and written per second.
#include <benchmark/benchmark.h>

#include <vector>

#include "kernels/activation/swiglu.h"

namespace lora {
namespace {

constexpr int64_t kSize = 128 * 8192;

void forward(benchmark::State& state) {
  std::vector<float> gate(kSize, 0.5f), up(gate), y(gate);
  ThreadPool pool(1);
  for (auto _ : state) swiglu_forward(y.data(), gate.data(), up.data(), kSize, pool);
  state.SetBytesProcessed(state.iterations() * kSize * 3 * 4);
}
BENCHMARK(forward);

void backward(benchmark::State& state) {
  std::vector<float> gate(kSize, 0.5f), up(gate), dy(gate), dgate(gate), dup(gate);
  ThreadPool pool(1);
  for (auto _ : state) {
    swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), kSize, pool);
  }
  state.SetBytesProcessed(state.iterations() * kSize * 5 * 4);
}
BENCHMARK(backward);

}  // namespace
}  // namespace lora
