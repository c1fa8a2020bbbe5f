#include "convert/collect_imatrix.h"

#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

struct Sums {
  std::vector<double> squares;    // (n_slices, n_cols)
  std::vector<int64_t> n_tokens;  // (n_slices)

  void add(const ObservedMatrix& matrix, const float* x, int64_t n, int64_t n_cols) {
    squares.resize(size_t(matrix.n_slices * n_cols));
    n_tokens.resize(size_t(matrix.n_slices));
    n_tokens[size_t(matrix.slice)] += n;
    double* sums = &squares[size_t(matrix.slice * n_cols)];
    for (int64_t t = 0; t < n; ++t) {
      for (int64_t c = 0; c < n_cols; ++c) sums[c] += double(x[t * n_cols + c]) * double(x[t * n_cols + c]);
    }
  }
};

// Experts whose multiplication no token came to.
std::string unreached(const Imatrix& imatrix) {
  std::vector<std::pair<std::string_view, std::vector<int64_t>>> experts;
  for (const auto& [name, entry] : imatrix.entries) {
    std::vector<int64_t> without;
    for (size_t e = 0; e < entry.counts.size(); ++e) {
      if (entry.counts[e] == 0) without.push_back(int64_t(e));
    }
    if (!without.empty()) experts.emplace_back(name, std::move(without));
  }
  return experts_text(experts);
}

}  // namespace

EvalResult collect_imatrix(Imatrix& imatrix, const EvalOptions& options, EvalEvents events) {
  std::map<std::string, Sums, std::less<>> sums;
  events.on_open = [&](const Gguf& model) { imatrix.model = model.get_string("general.name").value_or(""); };
  events.on_input = [&](const ObservedMatrix& matrix, const float* x, int64_t n_tokens, int64_t n_cols) {
    // Not the output matrix: it gets many bits anyway, and its input says little about the vocabulary.
    if (!matrix.tensor.starts_with("blk.")) return;
    auto found = sums.find(matrix.tensor);
    if (found == sums.end()) found = sums.emplace(matrix.tensor, Sums{}).first;
    found->second.add(matrix, x, n_tokens, n_cols);
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
    imatrix.entries[name] = {{sum.squares.begin(), sum.squares.end()},
                             {sum.n_tokens.begin(), sum.n_tokens.end()}};
  }
  if (const std::string experts = unreached(imatrix); !experts.empty() && events.say)
    events.say("no token of the text went to these experts: " + experts);
  return result;
}

}  // namespace lora
