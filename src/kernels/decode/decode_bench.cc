// Values decoded per second, in a row that stays in cache, for every type.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "kernels/decode/decode.h"

namespace lora {
namespace {

void decode(benchmark::State& state, Type type) {
  constexpr int64_t kColumns = 4096;
  MatrixView matrix{type, nullptr, 1, kColumns};
  const std::vector<std::byte> bytes(size_t(matrix.row_bytes()));
  matrix.data = bytes.data();
  std::vector<float> values(kColumns);
  const RowDecoder decoder(matrix);
  for (auto _ : state) {
    decoder(values.data(), 0, 0, kColumns);
    benchmark::DoNotOptimize(values.data());
  }
  state.SetItemsProcessed(int64_t(state.iterations()) * kColumns);
}

[[maybe_unused]] const bool registered = [] {
  for (const TypeTraits& type : all_types()) {
    if (type.decode)
      benchmark::RegisterBenchmark(("decode/" + std::string(type.name)).c_str(), decode, type.type);
  }
  return true;
}();

}  // namespace
}  // namespace lora
