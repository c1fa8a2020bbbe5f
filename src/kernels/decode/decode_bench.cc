// A row of 4096 values that stays in the cache, decoded again and again: values per second, and bytes read
// and written, for every type.
#include <string>
#include <vector>

#include "kernels/bench_report.h"
#include "kernels/decode/decode.h"

namespace lora {
namespace {

template <bool kRounds>
void decode(benchmark::State& state, Type type) {
  constexpr int64_t kColumns = 4096;
  MatrixView matrix{type, nullptr, 1, kColumns};
  const std::vector<std::byte> bytes(size_t(matrix.row_bytes()), std::byte(0x33));  // no denormal scales
  matrix.data = bytes.data();
  std::vector<float> values(kColumns);
  const RowDecoder decoder(matrix);
  std::vector<bf16> rounded(kColumns);
  const double s = bench::run(state, [&] {
    if constexpr (kRounds) {
      decoder(rounded.data(), 0, 0, kColumns, values.data());
    } else {
      decoder(values.data(), 0, 0, kColumns);
    }
  });
  state.counters["Gvalues/s"] = kColumns / s / 1e9;
  const int64_t moved = matrix.row_bytes() + kColumns * (kRounds ? 2 : 4);
  bench::report_bytes(state, s, moved, moved);
}

[[maybe_unused]] const bool registered = [] {
  for (const TypeTraits& type : all_types()) {
    if (!type.decode) continue;
    benchmark::RegisterBenchmark(("decode/f32/" + std::string(type.name)).c_str(), decode<false>, type.type);
    benchmark::RegisterBenchmark(("decode/bf16/" + std::string(type.name)).c_str(), decode<true>, type.type);
  }
  return true;
}();

}  // namespace
}  // namespace lora
