#include "train/report.h"

#include <fmt/format.h>

#include <cmath>

#include "base/elementary.h"

namespace lora {

std::string fraction_in_words(double part) {
  struct Word {
    double up_to;  // between this fraction and the next
    const char* words;
  };
  constexpr Word kWords[] = {
      {0.035, "hardly"},    {0.075, "a twentieth"},    {0.14, "a tenth"},     {0.225, "a fifth"},
      {0.29, "a quarter"},  {0.415, "a third"},        {0.55, "half"},        {0.633, "three fifths"},
      {0.71, "two thirds"}, {0.775, "three quarters"}, {0.85, "four fifths"}, {1e300, "nine tenths"}};
  const double size = std::abs(part);
  for (const Word& word : kWords) {
    if (size <= word.up_to) return fmt::format("{} {}", word.words, part < 0 ? "more" : "less");
  }
  return "";
}

bool has_overtrained(const Evaluations& e) {
  constexpr double kRise = 0.01;  // of the best loss: less is how much it wavers
  return e.best && e.last && e.best_iteration > 0 && e.last_iteration > e.best_iteration &&
         *e.last > *e.best * (1 + kRise);
}

std::vector<std::string> describe_quality(const Evaluations& e, const std::string& best_path) {
  std::vector<std::string> lines;
  if (!e.best) return lines;
  const auto loss = [](double value, const std::string& of) {
    return fmt::format("{:.4f} {} (perplexity {:.2f})", value, of, elementary::exp(value));
  };
  lines.push_back(fmt::format(
      "held-out loss: {}{}{}", e.before ? loss(*e.before, "before training") + ", " : "",
      loss(*e.best, e.best_iteration > 0 ? fmt::format("at its best, iteration {}", e.best_iteration)
                                         : std::string("at its best")),
      e.last && e.last_iteration > e.best_iteration
          ? ", " + loss(*e.last, fmt::format("at the last, iteration {}", e.last_iteration))
          : ""));
  if (e.before && *e.best < *e.before) {
    const double part = (*e.before - *e.best) / *e.before;
    lines.push_back(part > 0.95
                        ? "text of this kind that it has not seen hardly surprises it any more"
                        : fmt::format("text of this kind that it has not seen surprises it {} than before",
                                      fraction_in_words(part)));
  } else if (e.before) {
    lines.push_back(
        "warning: text that it has not seen surprises it no less than before: the adapter learned nothing "
        "that "
        "carries over; more or other data, or a smaller --adam-alpha, may help");
  }
  if (has_overtrained(e)) {
    lines.push_back(
        fmt::format("after iteration {} it learned the samples by heart: the held-out loss rose from {:.4f} "
                    "to {:.4f}; {}",
                    e.best_iteration, *e.best, *e.last,
                    best_path.empty() ? std::string("--save-best keeps the adapter from before that")
                                      : fmt::format("{} is the adapter from before that", best_path)));
  }
  return lines;
}

}  // namespace lora
