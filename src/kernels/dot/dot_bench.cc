// One token against weights of the shapes that 3B and 7B models have, as in generation: each call finds other
// weights, so that they come from memory. Arguments: n_out, n_in.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/buffer.h"
#include "kernels/bench_report.h"
#include "kernels/dot/dot.h"
#include "kernels/dot/int8.h"

namespace lora {
namespace {

// More than a cache holds; written to, for else all its pages would be one. As scales of any form these bytes
// are no denormal numbers, which take a processor longer.
const Buffer<std::byte>& storage() {
  static const Buffer<std::byte> bytes = [] {
    Buffer<std::byte> result(256 << 20);
    std::fill_n(result.data(), result.size(), std::byte(0x33));
    return result;
  }();
  return bytes;
}

void dot(benchmark::State& state, Type type, DotInput input) {
  MatrixView w{type, nullptr, state.range(0), state.range(1)};
  const int64_t bytes = w.n_rows * w.row_bytes();
  std::vector<MatrixView> weights;
  for (int64_t at = 0; at + bytes <= storage().size(); at += bytes) {
    w.data = storage().data() + at;
    weights.push_back(w);
  }
  const std::vector<float> x(static_cast<size_t>(w.n_cols), 0.5f);
  std::vector<float> y(static_cast<size_t>(w.n_rows));
  ThreadPool pool(1);
  size_t next = 0;
  std::vector<std::byte> scratch(size_t(dot_scratch_bytes(1, w.n_cols)));
  const double s = bench::run(state, [&] {
    const DotProduct product = {y.data(), weights[next++ % weights.size()]};
    dot_rows({&product, 1}, x.data(), 1, input, scratch.data(), pool);
  });
  bench::report_read(state, s, bytes, weights);
}

[[maybe_unused]] const bool registered = [] {
  struct Shape {
    int64_t n_out, n_in;
  };
  constexpr Shape shapes[] = {{3200, 3200}, {8640, 3200},  {3200, 8640},
                              {4096, 4096}, {11008, 4096}, {4096, 11008}};
  for (const Type type : {Type::F16, Type::BF16, Type::Q8_0, Type::Q6_K, Type::Q5_0, Type::Q4_K, Type::MXFP4,
                          Type::IQ3_S, Type::IQ2_XXS, Type::IQ1_M, Type::TQ2_0, Type::TQ1_0}) {
    for (const Shape& shape : shapes) {
      if (shape.n_in % traits(type).block_size != 0) continue;
      for (const DotInput input : {DotInput::f32, DotInput::int8}) {
        if (input == DotInput::int8 && !int8_dot(type)) continue;
        benchmark::RegisterBenchmark(
            fmt::format("dot/{}/{}", traits(type).name, input == DotInput::int8 ? "int8" : "f32").c_str(),
            dot, type, input)
            ->Args({shape.n_out, shape.n_in})
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace lora
