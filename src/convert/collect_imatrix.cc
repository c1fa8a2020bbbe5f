#include "convert/collect_imatrix.h"

#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

struct Sums {
  std::vector<double> squares;  // (n_cols)
  int64_t n_tokens = 0;

  void add(const float* x, int64_t n, int64_t n_cols) {
    squares.resize(size_t(n_cols));
    n_tokens += n;
    for (int64_t t = 0; t < n; ++t) {
      for (int64_t c = 0; c < n_cols; ++c)
        squares[size_t(c)] += double(x[t * n_cols + c]) * double(x[t * n_cols + c]);
    }
  }
};

}  // namespace

EvalResult collect_imatrix(Imatrix& imatrix, const EvalOptions& options, EvalEvents events) {
  std::map<std::string, Sums, std::less<>> sums;
  events.on_open = [&](const Gguf& model) { imatrix.model = model.get_string("general.name").value_or(""); };
  events.on_input = [&](std::string_view tensor, const float* x, int64_t n_tokens, int64_t n_cols) {
    // Not the output matrix: it gets many bits anyway, and its input says little about the vocabulary.
    if (!tensor.starts_with("blk.")) return;
    auto found = sums.find(tensor);
    if (found == sums.end()) found = sums.emplace(tensor, Sums{}).first;
    found->second.add(x, n_tokens, n_cols);
  };
  events.on_window = [&, shown = std::move(events.on_window)](int64_t window, int64_t n_windows,
                                                              const EvalResult& so_far) {
    imatrix.n_chunks = window;
    if (shown) shown(window, n_windows, so_far);
  };
  imatrix.chunk_size = options.n_ctx;
  const EvalResult result = evaluate(options, events);
  for (const auto& [name, sum] : sums) {
    for (const double square : sum.squares) {
      if (!std::isfinite(float(square)))
        fail("{}: what goes into tensor '{}' is not finite", options.model, printable(name));
    }
    imatrix.entries[name] = {{sum.squares.begin(), sum.squares.end()}, {float(sum.n_tokens)}};
  }
  return result;
}

}  // namespace lora
