#include "train/resume.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/file_status.h"
#include "base/path.h"
#include "base/same_file.h"
#include "train/metrics.h"
#include "train/outputs.h"
#include "train/run.h"

namespace lora {
namespace {

bool holds_something(const std::string& path) {
  return file_bytes(path).value_or(0) > 0;
}

std::string latest(const FinetuneOptions& options, const std::string& name) {
  return fill_pattern(name, options.pattern_fn_it, options.fn_latest);
}

// The files called `name` with a number in place of the pattern.
std::vector<std::string> numbered(const FinetuneOptions& options, const std::string& name) {
  const auto [folder, pattern] = split_path(name);
  std::vector<std::string> found;
  if (!is_directory(folder_of(name))) return found;
  for (const std::string& file : files_in(folder_of(name))) {
    if (is_numbered(file, pattern, options.pattern_fn_it)) found.push_back(folder + file);
  }
  return found;
}

}  // namespace

Resume find_checkpoint(const FinetuneOptions& options) {
  const std::string named = options.checkpoint_in.value_or(kDefaultCheckpointIn);
  if (named.empty()) return {.overwrites = true};
  if (options.checkpoint_in && file_exists(named)) return {named};
  if (options.checkpoint_in && options.only_write_lora)  // no other's adapter was asked for
    return {.looked_for = {named}};
  const std::string own = latest(options, options.checkpoint_out);
  if (holds_something(own)) return {own};
  if (file_exists(named)) return {named};
  if (options.checkpoint_in || own.empty()) return {.looked_for = {named}};
  return {.looked_for = {own, named}};
}

std::vector<std::string> files_of(const FinetuneOptions& options, const std::string& name) {
  std::vector<std::string> names;
  if (name.empty()) return names;
  names.push_back(latest(options, name));
  std::ranges::move(numbered(options, name), std::back_inserter(names));
  std::erase_if(names, [](const std::string& path) { return !holds_something(path); });
  return names;
}

std::vector<std::string> adapters_of(const FinetuneOptions& options) {
  std::vector<std::string> names = files_of(options, options.lora_out);
  if (!options.save_best) return names;
  const std::string best = best_path(options);
  if (holds_something(best) && std::ranges::find(names, best) == names.end()) names.push_back(best);
  return names;
}

std::map<int64_t, std::string> numbered_files(const FinetuneOptions& options, const std::string& name) {
  const std::string pattern = split_path(name).second, newest = latest(options, name);
  std::map<int64_t, std::string> files;
  for (const std::string& path : numbered(options, name)) {
    const auto number = number_in_name(split_path(path).second, pattern, options.pattern_fn_it);
    if (number && path != newest) files.emplace(*number, path);
  }
  return files;
}

void expect_no_files(const FinetuneOptions& options) {
  for (const auto& files : {files_of(options, options.checkpoint_out), adapters_of(options)}) {
    for (const std::string& path : files)
      fail("{}: is there already, and there is no checkpoint to go on from; {}", path, kWaysOut);
  }
  if (holds_something(options.metrics)) {
    fail(
        "--metrics: {}: is there already, and there is no checkpoint to go on from; "
        "--checkpoint-in '' begins anew over it, another name in --metrics keeps it",
        options.metrics);
  }
}

std::string expect_own_files(const FinetuneOptions& options, const std::string& checkpoint, int64_t iteration,
                             const Settings& run) {
  std::string line;
  const std::vector<std::string> checkpoints = files_of(options, options.checkpoint_out);
  const std::string own = latest(options, options.checkpoint_out);
  const bool has_latest = std::ranges::find(checkpoints, own) != checkpoints.end();
  for (const std::string& path : checkpoints) {
    // Numbered ones beside a latest one of this run are older, or left of a run that it was begun over.
    if (same_file(path, checkpoint) || (has_latest && path != own)) continue;
    const CheckpointHead head = read_found(options, path, read_checkpoint_head);
    expect_fits(head.settings, path, run, typed_names(options));
    if (head.iteration > iteration && line.empty()) {
      line = fmt::format(
          "note: {} is further on, at iteration {}; what is younger than iteration {} will be written over",
          path, head.iteration, iteration);
    }
  }
  expect_own_adapters(options, checkpoint, run);
  if (holds_something(options.metrics) && !is_metrics_of(run_id(run), options.metrics)) {
    fail(
        "--metrics: {}: is there already, and not known to be of the run of {}: give another name, or remove "
        "it",
        options.metrics, checkpoint);
  }
  return line;
}

bool is_adapter_of(const std::string& id, const std::string& path) {
  try {
    const Gguf file = Gguf::open(path);
    return file.get_string("general.type") == "adapter" && file.get_string("lora_cpp.run") == id;
  } catch (const Error&) {
    return false;
  }
}

bool is_checkpoint_of(const std::string& id, const std::string& path) {
  try {
    return run_id(read_checkpoint_head(path).settings) == id;
  } catch (const Error&) {
    return false;
  }
}

void expect_own_adapters(const FinetuneOptions& options, const std::string& checkpoint, const Settings& run) {
  const std::string id = run_id(run), own = latest(options, options.lora_out);
  const bool has_latest = is_adapter_of(id, own);
  for (const std::string& path : adapters_of(options)) {
    // As with the checkpoints, numbered ones beside a latest one of this run are its own to replace.
    const bool is_numbered = path != own && !(options.save_best && path == best_path(options));
    if ((has_latest && is_numbered) || is_adapter_of(id, path)) continue;
    const bool is_best = !options.best_out.empty() && path == options.best_out;
    fail("{}: is there already, and not of the run of {}: give {} another name, or remove it", path,
         checkpoint, is_best ? "--best-out" : "--lora-out");
  }
}

}  // namespace lora
