// Values encoded per second, for every type.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/encode/encode.h"

namespace lora {
namespace {

void encode(benchmark::State& state, Type type) {
  constexpr int64_t kValues = 65536;
  std::vector<float> values(kValues);
  for (int64_t i = 0; i < kValues; ++i) {  // roughly normal
    for (uint64_t k = 0; k < 4; ++k)
      values[size_t(i)] += random_uniform(1, Purpose::test, k, uint64_t(i)) - 0.5f;
  }
  std::vector<std::byte> blocks(size_t(MatrixView{type, nullptr, 1, kValues}.row_bytes()));
  const Encoder encoder = find_encoder(type);
  for (auto _ : state) {
    encoder(blocks.data(), values.data(), kValues, nullptr);
    benchmark::DoNotOptimize(blocks.data());
  }
  state.SetItemsProcessed(int64_t(state.iterations()) * kValues);
}

[[maybe_unused]] const bool registered = [] {
  for (const TypeTraits& type : all_types()) {
    if (type.encode)
      benchmark::RegisterBenchmark(("encode/" + std::string(type.name)).c_str(), encode, type.type);
  }
  return true;
}();

}  // namespace
}  // namespace lora
