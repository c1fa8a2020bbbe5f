// What `lora train` chooses for its user: a table of rules, from facts to the flags of a run, each with its
// reason.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "recipe/facts.h"
#include "train/options.h"

namespace lora {

enum class Quality {
  quick,  // half of the passes, a smaller adapter
  good,
  best,  // twice the passes, a larger adapter
};

struct Wishes {
  Quality quality = Quality::good;
  std::optional<double> hours{};  // that the run may take at most
  std::string name{};             // of what it writes, without ending: NAME.gguf and the like
};

struct Choice {
  std::string flags;  // "--lora-r --lora-alpha": the flags of finetune that it set
  std::string why;
  std::string what{};  // in place of the flags' values, where these are many

  bool sets(std::string_view flag) const;
};

// Sets what a run goes by, but for flags that is_given() says were asked for, and returns what it set, in the
// order in which one choice follows from those before. The options have the model, the data and how it is cut
// (find_samples()). Throws Error where no choice would do: no step fits the memory.
std::vector<Choice> choose(FinetuneOptions& options, const Facts& facts, const Wishes& wishes,
                           const std::function<bool(std::string_view flag)>& is_given);

// All flags that may be chosen.
std::vector<std::string> chosen_flags();

// What a run of these options takes, if an iteration and an evaluation take what was measured.
struct RunTime {
  int64_t n_iter = 0;
  int64_t n_evaluations = 0;
  double seconds = 0;
};
RunTime run_time(const FinetuneOptions& options, const Facts& facts, const Estimate& measured);

}  // namespace lora
