#include "train/outputs.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/same_file.h"
#include "train/metrics.h"

namespace lora {
namespace {

struct Named {
  std::string flag, path;
};

void expect_spared(const std::string& flag, const std::string& path, const Named& other) {
  const std::string file = replaced_by(path, other.path);
  if (file.empty()) return;
  if (same_file(file, path)) fail("{}: {} is the file of {}", flag, path, other.flag);
  fail("{}: {} is the file of {}, and named as a temporary file of {}", flag, file, other.flag, path);
}

std::vector<Named> inputs_of(const FinetuneOptions& options) {
  std::vector<Named> inputs = {{"--model-base", options.model_base}};
  for (const std::string& path : options.train_data) inputs.push_back({"--train-data", path});
  for (const std::string& path : options.val_data) inputs.push_back({"--val-data", path});
  if (!options.lora_init.empty()) inputs.push_back({"--lora-init", options.lora_init});
  if (!options.card.empty()) inputs.push_back({"--card", options.card});
  return inputs;
}

// Without an iteration only those that have no number.
std::vector<Named> outputs_of(const FinetuneOptions& options, std::optional<int64_t> iteration) {
  std::vector<Named> outputs;
  for (const auto& [flag, name] :
       {Named{"--lora-out", options.lora_out}, Named{"--checkpoint-out", options.checkpoint_out}}) {
    std::vector<std::string> paths = output_paths(options, name, iteration.value_or(0));
    if (!iteration && paths.size() > 1) paths.erase(paths.begin());
    if (options.save_best && flag == "--lora-out") paths.push_back(best_path(options));
    for (const std::string& path : paths) outputs.push_back({flag, path});
  }
  return outputs;
}

// A checkpoint may replace the one the run began with; nothing else may.
void expect_nothing_replaced(const FinetuneOptions& options, const std::string& checkpoint_in,
                             const std::vector<Named>& outputs) {
  std::vector<Named> others = inputs_of(options);
  if (!options.metrics.empty()) {
    if (same_file(options.metrics, checkpoint_in)) {
      fail("--metrics: {} is the file of --checkpoint-in", options.metrics);
    }
    for (const Named& other : others) {
      if (same_file(options.metrics, other.path))
        fail("--metrics: {} is the file of {}", options.metrics, other.flag);
    }
    others.push_back({"--metrics", options.metrics});
  }
  for (const Named& output : outputs) {
    const auto& [flag, path] = output;
    if (!same_file(path, checkpoint_in)) {
      expect_spared(flag, path, {"--checkpoint-in", checkpoint_in});
    } else if (flag == "--lora-out") {
      fail("{}: {} is the file of --checkpoint-in", flag, path);
    }
    for (const Named& other : others) expect_spared(flag, path, other);
    for (const Named& other : outputs) {
      if (&other == &output) break;
      if (other.flag == flag) continue;
      expect_spared(flag, path, other);
      expect_spared(other.flag, other.path, output);
    }
  }
}

// What killed runs left of the numbered files of this name.
void remove_leftovers(const FinetuneOptions& options, const std::string& name) {
  const size_t slash = name.rfind('/') + 1;  // npos + 1 is 0
  const std::string folder = name.substr(0, slash), pattern = name.substr(slash);
  if (pattern.find(options.pattern_fn_it) == pattern.npos ||
      folder.find(options.pattern_fn_it) != folder.npos)
    return;
  const std::vector<Named> inputs = inputs_of(options);
  for (const std::string& file : files_in(folder.empty() ? "." : folder)) {
    const std::string target = target_of_leftover(file);
    if (!is_numbered(target, pattern, options.pattern_fn_it)) continue;
    if (std::ranges::any_of(inputs, [&](const Named& input) { return same_file(input.path, folder + file); }))
      continue;
    try {
      const Hold removes(folder + target);
    } catch (const Error&) {
      // Another run's that is alive, or not for us to remove: a save of that iteration says so.
    }
  }
}

}  // namespace

std::string fill_pattern(std::string name, const std::string& pattern, const std::string& value) {
  if (pattern.empty()) return name;
  for (size_t at = 0; (at = name.find(pattern, at)) != std::string::npos; at += value.size()) {
    name.replace(at, pattern.size(), value);
  }
  return name;
}

bool is_numbered(const std::string& file, const std::string& name, const std::string& pattern_fn_it) {
  const size_t at = name.find(pattern_fn_it);
  if (pattern_fn_it.empty() || at == name.npos || at >= file.size()) return false;
  const std::string number = file.substr(at, file.find_first_not_of("0123456789", at) - at);
  return !number.empty() && fill_pattern(name, pattern_fn_it, number) == file;
}

std::vector<std::string> output_paths(const FinetuneOptions& options, const std::string& name,
                                      int64_t iteration) {
  std::vector<std::string> paths;
  for (const std::string& value : {std::to_string(iteration), options.fn_latest}) {
    const std::string path = fill_pattern(name, options.pattern_fn_it, value);
    if (!path.empty() && (paths.empty() || path != paths.back())) paths.push_back(path);
  }
  return paths;
}

std::string best_path(const FinetuneOptions& options) {
  const std::string path = fill_pattern(options.lora_out, options.pattern_fn_it, "BEST");
  if (path != options.lora_out) return path;
  const size_t dot = path.rfind('.'), slash = path.rfind('/');
  const bool has_extension = dot != std::string::npos && (slash == std::string::npos || dot > slash + 1);
  std::string best = path;
  return best.insert(has_extension ? dot : path.size(), "-BEST");
}

void check_outputs(const FinetuneOptions& options, const std::string& checkpoint_in, int64_t last_iteration) {
  const std::vector<Named> outputs = outputs_of(options, last_iteration);
  expect_nothing_replaced(options, checkpoint_in, outputs);
  for (const Named& output : outputs) const AtomicFile can_be_created(output.path);  // and is gone again
}

std::vector<Hold> hold_outputs(const FinetuneOptions& options, const std::string& checkpoint_in,
                               const Say& say) {
  std::vector<Named> outputs = outputs_of(options, std::nullopt);
  expect_nothing_replaced(options, checkpoint_in, outputs);
  if (!options.metrics.empty()) outputs.push_back({"--metrics", options.metrics});
  std::vector<Hold> holds;
  for (const Named& output : outputs) {
    holds.emplace_back(output.path);
    if (say && !holds.back().warning().empty()) say(holds.back().warning());
  }
  if (!options.metrics.empty()) expect_metrics_file(options.metrics);
  for (const std::string& name : {options.lora_out, options.checkpoint_out}) remove_leftovers(options, name);
  return holds;
}

}  // namespace lora
