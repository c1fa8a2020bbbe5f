// Continues a prompt: evaluates it, then samples token after token with a KV cache.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "generate/continuation.h"
#include "generate/options.h"

namespace lora {

struct GenerateResult {
  GenerateEnd end = GenerateEnd::n_predict;
  uint64_t seed = 0;  // the one in use
  int64_t prompt_tokens = 0, generated_tokens = 0;
  double prompt_tok_per_s = 0, generate_tok_per_s = 0;
};

// Any member may be empty. All are called from the thread that called generate().
struct GenerateEvents {
  std::function<void(std::string_view line)> say;       // e.g. a context beyond the model's own
  std::function<void(std::string_view piece)> on_text;  // whole characters, no part of a stop string
  std::function<bool()> should_stop;                    // asked between pieces of a long prompt, and after
                                                        // each token
};

// Tokens per second; 0 where nothing was done.
double per_second(int64_t n_tokens, double seconds);

// The context to use: the one asked for, else the model's training context, at most kMaxDefaultContext.
int64_t context_of(const GenerateOptions& options, const Model& model);

// Throws Error naming the file or option at fault.
GenerateResult generate(const GenerateOptions& options, const GenerateEvents& events);

}  // namespace lora
