// One token against weights of the shapes that 3B and 7B models have, one thread: bytes of weights per
// second.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <vector>

#include "kernels/dot/dot.h"
#include "kernels/dot/int8.h"

namespace lora {
namespace {

void dot(benchmark::State& state, Type type, DotInput input) {
  const int64_t n_out = state.range(0), n_in = state.range(1);
  ThreadPool pool(1);
  MatrixView w{type, nullptr, n_out, n_in};
  const std::vector<std::byte> bytes(size_t(n_out * w.row_bytes()));  // zeros: time does not depend on values
  w.data = bytes.data();
  const std::vector<float> x(static_cast<size_t>(n_in), 0.5f);
  std::vector<float> y(static_cast<size_t>(n_out));
  std::vector<std::byte> scratch(size_t(dot_scratch_bytes(1, n_in)));
  const DotProduct product = {y.data(), w};
  for (auto _ : state) {
    dot_rows({&product, 1}, x.data(), 1, input, scratch.data(), pool);
    benchmark::DoNotOptimize(y.data());
  }
  state.SetBytesProcessed(int64_t(state.iterations()) * int64_t(bytes.size()));
}

[[maybe_unused]] const bool registered = [] {
  struct Shape {
    int64_t n_out, n_in;
  };
  constexpr Shape shapes[] = {{3200, 3200}, {8640, 3200}, {3200, 8640}, {4096, 4096}, {11008, 4096}};
  for (const TypeTraits& type : all_types()) {
    if (!type.decode) continue;
    for (const Shape& shape : shapes) {
      if (shape.n_in % type.block_size != 0) continue;
      for (const DotInput input : {DotInput::f32, DotInput::int8}) {
        if (input == DotInput::int8 && !int8_dot(type.type)) continue;
        benchmark::RegisterBenchmark(
            fmt::format("dot/{}/{}", type.name, input == DotInput::int8 ? "int8" : "f32").c_str(), dot,
            type.type, input)
            ->Args({shape.n_out, shape.n_in})
            ->Unit(benchmark::kMillisecond)
            ->MinTime(0.1);
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace lora
