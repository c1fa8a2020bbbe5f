// Prompts, and training where it rounds in another way, of the shapes that 3B and 7B models have. Arguments:
// tokens, n_out, n_in. The share is that of the bf16 peak, which integers can exceed.
#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include "kernels/bench_report.h"
#include "kernels/gemm_int8/gemm_int8.h"

namespace lora {
namespace {

void product(benchmark::State& state, Type type, TokenBytes bytes) {
  const int64_t n_tokens = state.range(0), n_out = state.range(1), n_in = state.range(2);
  MatrixView w = {type, nullptr, n_out, n_in};
  // The time does not depend on values, but for scales that are denormal: zeros are one in MXFP4.
  const std::vector<std::byte> weights(size_t(n_out * w.row_bytes()), std::byte(0x33));
  w.data = weights.data();
  ThreadPool pool(1);
  GemmScratch scratch(1);
  const std::vector<float> x(size_t(n_tokens * n_in), 0.5f);
  std::vector<float> y(size_t(n_tokens * n_out));
  std::vector<std::byte> storage(size_t(int8_tokens_bytes(n_tokens, n_in, bytes)));
  const double s = bench::run(state, [&] {
    const TokenRows rows = {x.data(), nullptr, n_tokens};
    const Int8Tokens rounded = round_tokens(storage.data(), {&rows, 1}, n_in, bytes, pool)[0];
    const Int8Product one = {y.data(), w, &rounded};
    gemm_int8({&one, 1}, false, scratch, pool);
  });
  bench::report_flops(state, s, GemmInput::bf16, 2.0 * double(n_tokens) * double(n_out) * double(n_in));
}

[[maybe_unused]] const bool registered = [] {
  for (const Type type : {Type::Q8_0, Type::Q6_K, Type::Q5_0, Type::Q4_K, Type::Q4_0, Type::MXFP4,
                          Type::IQ2_XXS, Type::TQ1_0}) {
    if (!has_int8_gemm(type)) continue;
    for (const int64_t n_tokens : {8, 64, 512}) {
      for (const int64_t n : {3200, 4096}) {
        if (n % traits(type).block_size != 0) continue;
        for (const TokenBytes bytes : std::set{TokenBytes::one, int8_training().bytes}) {
          const std::string name =
              fmt::format("gemm_int8{}/{}", bytes == TokenBytes::two ? "_two_bytes" : "", traits(type).name);
          benchmark::RegisterBenchmark(name.c_str(), product, type, bytes)
              ->Args({n_tokens, n, n})
              ->Unit(benchmark::kMillisecond);
        }
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace lora
