#include "train/outputs.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/path.h"
#include "base/same_file.h"
#include "train/metrics.h"
#include "train/name_pattern.h"

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
    for (const std::string& path : paths) outputs.push_back({flag, path});
  }
  if (options.save_best)
    outputs.push_back({options.best_out.empty() ? "--lora-out" : "--best-out", best_path(options)});
  return outputs;
}

// The checkpoint that this run or, where it is not there yet, the next one goes on from.
std::vector<Named> checkpoints_of(const FinetuneOptions& options, const std::string& checkpoint_in) {
  std::vector<Named> found;
  for (const std::string& path : {checkpoint_in, options.checkpoint_in.value_or(kDefaultCheckpointIn)}) {
    if (!path.empty()) found.push_back({"--checkpoint-in", path});
  }
  return found;
}

// A checkpoint may replace the one the run began with; nothing else may.
void expect_nothing_replaced(const FinetuneOptions& options, const std::string& checkpoint_in,
                             const std::vector<Named>& outputs) {
  std::vector<Named> others = inputs_of(options);
  const std::vector<Named> checkpoints = checkpoints_of(options, checkpoint_in);
  if (!options.metrics.empty()) {
    for (const Named& checkpoint : checkpoints) {
      if (same_file(options.metrics, checkpoint.path))
        fail("--metrics: {} is the file of {}", options.metrics, checkpoint.flag);
    }
    for (const Named& other : others) {
      if (same_file(options.metrics, other.path))
        fail("--metrics: {} is the file of {}", options.metrics, other.flag);
    }
    others.push_back({"--metrics", options.metrics});
  }
  for (const Named& output : outputs) {
    const auto& [flag, path] = output;
    for (const Named& checkpoint : checkpoints) {
      if (flag != "--checkpoint-out" || !same_file(path, checkpoint.path))
        expect_spared(flag, path, checkpoint);
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

// Whatever the iteration: no numbered file is an input, or of the other output.
void expect_numbers_apart(const FinetuneOptions& options, const std::string& checkpoint_in) {
  const std::string& mark = options.pattern_fn_it;
  const Named lora{"--lora-out", options.lora_out}, checkpoint{"--checkpoint-out", options.checkpoint_out};
  std::vector<Named> others = inputs_of(options);
  if (!options.metrics.empty()) others.push_back({"--metrics", options.metrics});
  const auto expect_apart = [&](const Named& output, const Named& other) {
    if (!can_be_equal(output.path, other.path, mark)) return;
    fail("{}: {}, with a number in place of {}, can be {}, the file of {}", output.flag, output.path, mark,
         other.path, other.flag);
  };
  for (const Named& output : {lora, checkpoint}) {
    if (mark.empty() || output.path.find(mark) == output.path.npos) continue;
    for (const Named& other : others) expect_apart(output, other);
    if (output.flag == lora.flag && options.save_best && !options.best_out.empty())
      expect_apart(output, {"--best-out", options.best_out});
    const Named& second = output.flag == lora.flag ? checkpoint : lora;
    for (const std::string& path : {second.path, fill_pattern(second.path, mark, options.fn_latest)})
      expect_apart(output, {second.flag, path});
    if (output.flag == checkpoint.flag) {
      if (options.save_best) expect_apart(output, {lora.flag, best_path(options)});
      continue;
    }
    for (const Named& read : checkpoints_of(options, checkpoint_in)) expect_apart(output, read);
  }
}

// What killed runs left of the numbered files of this name.
void remove_leftovers(const FinetuneOptions& options, const std::string& name) {
  if (!has_number(options, name)) return;
  const auto& [folder, pattern] = split_path(name);
  const std::vector<Named> inputs = inputs_of(options);
  for (const std::string& file : files_in(folder_of(name))) {
    const std::string target = target_of_leftover(file);
    if (!is_numbered(target, pattern, options.pattern_fn_it)) continue;
    if (std::ranges::any_of(inputs, [&, &folder = folder](const Named& input) {
          return same_file(input.path, folder + file);
        }))
      continue;
    try {
      const Hold removes(folder + target);
    } catch (const Error&) {
      // Another run's that is alive, or not for us to remove: a save of that iteration says so.
    }
  }
}

}  // namespace

std::vector<std::string> output_paths(const FinetuneOptions& options, const std::string& name,
                                      int64_t iteration) {
  std::vector<std::string> paths;
  for (const std::string& value : {std::to_string(iteration), options.fn_latest}) {
    const std::string path = fill_pattern(name, options.pattern_fn_it, value);
    if (!path.empty() && (paths.empty() || path != paths.back())) paths.push_back(path);
  }
  return paths;
}

bool has_number(const FinetuneOptions& options, const std::string& name) {
  const auto& [folder, file] = split_path(name);
  return !options.pattern_fn_it.empty() && file.find(options.pattern_fn_it) != file.npos &&
         folder.find(options.pattern_fn_it) == folder.npos;
}

std::string best_path(const FinetuneOptions& options) {
  if (!options.best_out.empty()) return options.best_out;
  const std::string path = fill_pattern(options.lora_out, options.pattern_fn_it, "BEST");
  if (path != options.lora_out) return path;
  auto [folder, name] = split_path(path);
  const size_t dot = name.rfind('.');
  name.insert(dot != name.npos && dot > 0 ? dot : name.size(), "-BEST");
  return folder + name;
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
  expect_numbers_apart(options, checkpoint_in);
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
