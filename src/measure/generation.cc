#include "measure/generation.h"

#include <algorithm>

#include "base/machine.h"
#include "base/random.h"
#include "base/timing.h"
#include "kernels/bandwidth.h"
#include "kernels/dot/dot.h"
#include "kernels/dot/int8.h"
#include "kernels/gemm/peak.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "model/decoder.h"
#include "nn/arithmetic.h"

namespace lora {
namespace {

// Of all matrices that a token meets, as nn/linear.cc multiplies so many tokens.
std::string inputs_of(const BenchModel& bench, Precision precision, int64_t n_tokens) {
  const bool rounds = dot_input(precision) == DotInput::int8;
  const std::string_view floats =
      n_tokens > kDotTokens ? name(Arithmetic(gemm_input(precision))) : std::string_view("f32");
  std::string names;
  for (const MatrixView* w : bench.weights()) {
    const bool is_rounded =
        rounds && (prefers_int8_gemm(w->type, n_tokens) || (n_tokens <= kDotTokens && int8_dot(w->type)));
    const std::string_view found = is_rounded ? "int8" : floats;
    if (names.find(found) == names.npos) names += (names.empty() ? "" : ", ") + std::string(found);
  }
  return names;
}

}  // namespace

GenerationSpeed measure_generation(BenchModel& bench, const BenchOptions& options) {
  const Model& model = bench.model();
  GenerationSpeed result;
  result.n_prompt = options.n_prompt;
  result.n_predict = options.n_predict;
  // A long prompt goes through the layers in pieces of so many.
  result.prompt_inputs =
      inputs_of(bench, options.training.precision, std::min(options.n_prompt, kPromptBatch));
  result.token_inputs = inputs_of(bench, options.training.precision, 1);
  const int64_t n_ctx = options.n_prompt + options.n_predict;
  const DecoderOptions decoding{
      .n_ctx = n_ctx, .precision = options.training.precision, .cache_type = options.cache_type};
  const auto token = [&](int64_t t) {
    return int32_t(random_bits(1, Purpose::bench, 3, uint64_t(t)) % uint64_t(model.config.n_vocab));
  };
  std::vector<int32_t> prompt;
  for (int64_t t = 0; t < options.n_prompt; ++t) prompt.push_back(token(t));

  const int64_t n_head = model.output.n_in() * model.output.n_out();
  result.prompt_flop =
      2.0 * ((bench.active().n_weights - double(n_head)) * double(result.n_prompt) + double(n_head));
  result.weight_bytes = int64_t(bench.active().n_bytes);
  result.cache_bytes = int64_t(Decoder::cache_bytes(model, decoding));

  expect_memory(fmt::format("the keys and values of {} tokens", n_ctx),
                Decoder::memory_bytes(model, decoding, bench.pool.size()),
                "a smaller --prompt or --n-predict needs less");
  std::vector<double> prompt_times, token_times;
  // One for all: the first touch of new memory takes as long as a good part of a prompt where pages are
  // small.
  Decoder decoder(model, decoding, bench.pool);
  for (int64_t i = 0; i <= options.iterations; ++i) {
    decoder.keep(0);
    const double prompt_s = seconds([&] { decoder.append(prompt); });
    if (i == 0) {  // warms up
      result.peak_flops = gemm_peak(bench.arithmetic.floats, bench.pool);
      continue;
    }
    prompt_times.push_back(prompt_s);
    for (int64_t t = 0; t < options.n_predict; ++t) {
      const int32_t next = token(options.n_prompt + t);
      token_times.push_back(seconds([&] { decoder.append({&next, 1}); }));
    }
  }
  result.peak_flops = std::max(result.peak_flops, gemm_peak(bench.arithmetic.floats, bench.pool));
  result.prompt_s = median(prompt_times);
  result.token_s = median(token_times);
  result.late_token_s = late_mean(token_times);
  result.bytes_beyond_model = bench.peak_bytes_beyond();
  result.read_bandwidth = read_bandwidth(bench.weights(), bench.pool);
  return result;
}

}  // namespace lora
