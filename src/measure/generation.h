// Speed of generation: random tokens as a prompt, then one token at a time.
#pragma once

#include <cstdint>
#include <string>

#include "measure/bench_model.h"

namespace lora {

struct GenerationSpeed {
  int64_t n_prompt = 0, n_predict = 0;
  double prompt_s = 0, token_s = 0;  // medians: of whole prompts, of single tokens
  double late_token_s = 0;           // mean of the later half of them
  double prompt_flop = 0;            // 2 N T: N weights in linear layers (the head only for the last token)
  double peak_flops = 0;             // gemm_peak() just before and after, the higher one
  int64_t weight_bytes = 0;          // read for each token
  double read_bandwidth = 0;         // bytes per second, measured on the same weights
  int64_t cache_bytes = 0;           // keys and values
  std::string prompt_inputs,
      token_inputs;  // what weights are multiplied with: "int8", or "int8, f32" of several types
  int64_t bytes_beyond_model = 0;  // measured

  double prompt_tok_per_s() const { return double(n_prompt) / prompt_s; }
  double tok_per_s() const { return 1 / token_s; }
  double prompt_flops() const { return prompt_flop / prompt_s; }
  double bandwidth() const { return double(weight_bytes) / token_s; }
};

GenerationSpeed measure_generation(BenchModel& bench, const BenchOptions& options);

}  // namespace lora
