// Matrix products of the shapes that 3B and 7B models have, one thread: GFLOP/s, and the share of the
// micro-kernel's own rate on data that never leaves the first-level cache, measured in the same run.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/micro_kernel.h"

namespace lora {
namespace {

struct Weights {
  std::vector<std::byte> bytes;
  MatrixView view;
};

Weights make_weights(Type type, int64_t n_out, int64_t n_in) {
  Weights w{{}, {type, nullptr, n_out, n_in}};
  w.bytes.resize(size_t(n_out * w.view.row_bytes()));  // zeros: the time does not depend on values
  w.view.data = w.bytes.data();
  return w;
}

// Multiply-adds per second of the micro-kernel alone, x 2.
double peak_flops(GemmInput input) {
  const MicroKernel& kernel = micro_kernel(input);
  const int64_t k = 256;
  Buffer<float> c(kMaxMr * kMaxNr), l(kMaxMr * k), r(kMaxNr * k);
  if (kernel.begin) kernel.begin();
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    constexpr int kCalls = 500;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) kernel.tile(c.data(), kernel.nr, l.data(), k, r.data(), k, true);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, 2.0 * kernel.mr * kernel.nr * k * kCalls / seconds);
  }
  if (kernel.end) kernel.end();
  return best;
}

void report(benchmark::State& state, GemmInput input, double flops) {
  static const double peaks[] = {peak_flops(GemmInput::f32), peak_flops(GemmInput::bf16)};
  state.counters["GFLOP/s"] = benchmark::Counter(flops / 1e9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["of_peak"] =
      benchmark::Counter(flops / peaks[int(input)], benchmark::Counter::kIsIterationInvariantRate);
}

template <bool kBackward>
void product(benchmark::State& state, GemmInput input, Type type) {
  const int64_t n_tokens = state.range(0), n_out = state.range(1), n_in = state.range(2);
  const int64_t n_x = kBackward ? n_out : n_in, n_y = kBackward ? n_in : n_out;
  ThreadPool pool(1);
  GemmScratch scratch(1);
  const Weights w = make_weights(type, n_out, n_in);
  const std::vector<float> x(size_t(n_tokens * n_x), 0.5f);
  std::vector<float> y(size_t(n_tokens * n_y));
  Buffer<std::byte> storage(packed_bytes(input, n_tokens, n_x));
  for (auto _ : state) {
    if constexpr (kBackward) {
      const GemmTerm term = {pack_gradient(storage.data(), x.data(), n_tokens, n_x, 1, input, pool), w.view};
      gemm_input_gradient(y.data(), {&term, 1}, false, input, scratch, pool);
    } else {
      const GemmTerm term = {pack_forward(storage.data(), x.data(), n_tokens, n_x, 1, input, pool), w.view};
      gemm_forward(y.data(), {&term, 1}, false, input, scratch, pool);
    }
    benchmark::DoNotOptimize(y.data());
  }
  report(state, input, 2.0 * double(n_tokens) * double(n_out) * double(n_in));
}

void register_all() {
  struct Stored {
    const char* name;
    Type type;
  };
  struct Input {
    const char* name;
    GemmInput type;
  };
  struct Shape {
    int64_t n_out, n_in;
  };
  constexpr Stored stored[] = {{"f16", Type::F16}, {"q8_0", Type::Q8_0}, {"q4_k", Type::Q4_K}};
  constexpr Input inputs[] = {{"f32", GemmInput::f32}, {"bf16", GemmInput::bf16}};
  constexpr Shape shapes[] = {{3200, 3200}, {8640, 3200}, {3200, 8640}, {4096, 4096}, {11008, 4096}};
  const auto add = [](const std::string& name, const std::vector<int64_t>& args, auto... function) {
    benchmark::RegisterBenchmark(name.c_str(), function...)
        ->Args(args)
        ->Unit(benchmark::kMillisecond)
        ->MinTime(0.1);
  };
  for (const Stored& w : stored) {
    for (const Shape& shape : shapes) {
      if (shape.n_in % traits(w.type).block_size != 0) continue;
      for (const Input& input : inputs) {
        for (int64_t n_tokens : {64, 512}) {
          const std::vector<int64_t> args{n_tokens, shape.n_out, shape.n_in};
          add(fmt::format("forward/{}/{}", input.name, w.name), args, product<false>, input.type, w.type);
          add(fmt::format("input_gradient/{}/{}", input.name, w.name), args, product<true>, input.type,
              w.type);
        }
      }
    }
  }
}

[[maybe_unused]] const bool registered = (register_all(), true);

}  // namespace
}  // namespace lora
