// One token against weights of the shapes that 3B and 7B models have, one thread: bytes of weights per
// second.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <vector>

#include "kernels/dot/dot.h"

namespace lora {
namespace {

void dot(benchmark::State& state, Type type) {
  const int64_t n_out = state.range(0), n_in = state.range(1);
  ThreadPool pool(1);
  MatrixView w{type, nullptr, n_out, n_in};
  const std::vector<std::byte> bytes(size_t(n_out * w.row_bytes()));  // zeros: time does not depend on values
  w.data = bytes.data();
  const std::vector<float> x(static_cast<size_t>(n_in), 0.5f);
  std::vector<float> y(static_cast<size_t>(n_out));
  for (auto _ : state) {
    dot_rows(y.data(), x.data(), w, 1, false, pool);
    benchmark::DoNotOptimize(y.data());
  }
  state.SetBytesProcessed(int64_t(state.iterations()) * int64_t(bytes.size()));
}

[[maybe_unused]] const bool registered = [] {
  struct Shape {
    int64_t n_out, n_in;
  };
  constexpr Shape shapes[] = {{3200, 3200}, {8640, 3200}, {3200, 8640}, {4096, 4096}, {11008, 4096}};
  for (const Type type : {Type::F16, Type::Q8_0, Type::Q4_K}) {
    for (const Shape& shape : shapes) {
      if (shape.n_in % traits(type).block_size != 0) continue;
      benchmark::RegisterBenchmark(fmt::format("dot/{}", traits(type).name).c_str(), dot, type)
          ->Args({shape.n_out, shape.n_in})
          ->Unit(benchmark::kMillisecond)
          ->MinTime(0.1);
    }
  }
  return true;
}();

}  // namespace
}  // namespace lora
