// Mean negative log-likelihood and perplexity of a text under a model.
//
// The text is tokenized once and cut into consecutive windows: BOS (where the model uses it) and
// the next n_ctx - 1 tokens, or n_ctx tokens without BOS. Every token after a window's first
// position is a target; the last, short window counts.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "generate/options.h"

namespace lora {

class Gguf;

struct EvalResult {
  double nll = 0;         // nats per target token
  double perplexity = 0;  // exp(nll)
  int64_t tokens = 0;     // target tokens
  bool stopped = false;   // by should_stop: the figures are of the windows done
};

// A matrix of the model: a tensor, or one of those that it is a stack of.
struct ObservedMatrix {
  std::string_view tensor;
  int64_t slice = 0, n_slices = 1;
};

struct EvalEvents {
  std::function<void(std::string_view line)> say;
  std::function<void(const Gguf& model)> on_open;
  // After every few windows (they are computed together): how many are done, the figures so far; 0 tokens of
  // figures that only another stage of a pipeline has.
  std::function<void(int64_t window, int64_t n_windows, const EvalResult& so_far)> on_window;
  std::function<bool()> should_stop;
  // What goes into the multiplication with a matrix. x: (n_tokens, n_cols).
  std::function<void(const ObservedMatrix& matrix, const float* x, int64_t n_tokens, int64_t n_cols)>
      on_input;
};

// Throws Error naming the file or option at fault, also for a text without a single target token.
EvalResult evaluate(const EvalOptions& options, const EvalEvents& events);

}  // namespace lora
