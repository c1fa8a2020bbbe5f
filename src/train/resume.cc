#include "train/resume.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/same_file.h"
#include "train/outputs.h"

namespace lora {
namespace {

namespace fs = std::filesystem;

bool holds_something(const std::string& path) {
  std::error_code error;
  return !path.empty() && fs::is_regular_file(path, error) && fs::file_size(path, error) > 0;
}

std::string latest(const FinetuneOptions& options, const std::string& name) {
  return fill_pattern(name, options.pattern_fn_it, options.fn_latest);
}

// The files called `name` with a number in place of the pattern.
std::vector<std::string> numbered(const FinetuneOptions& options, const std::string& name) {
  const fs::path path(name);
  const std::string file = path.filename().string();
  const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
  const size_t at = file.find(options.pattern_fn_it);
  std::vector<std::string> found;
  if (options.pattern_fn_it.empty() || at == std::string::npos || !is_directory(folder)) return found;
  for (const std::string& entry : files_in(folder)) {
    const size_t end =
        std::min(entry.find_first_not_of("0123456789", std::min(at, entry.size())), entry.size());
    if (end <= at) continue;
    if (fill_pattern(file, options.pattern_fn_it, entry.substr(at, end - at)) == entry)
      found.push_back((path.parent_path() / entry).string());
  }
  return found;
}

// Whether adapters under the name of options.lora_out are this run's: it has written under it before. Of the
// first versions' checkpoints that is not known.
bool is_own_name(const FinetuneOptions& options, const TrainState& state) {
  return !state.lora_out || *state.lora_out == options.lora_out ||
         (!state.lora_out->empty() && !options.lora_out.empty() &&
          same_file(latest(options, *state.lora_out), latest(options, options.lora_out)));
}

}  // namespace

Resume find_checkpoint(const FinetuneOptions& options) {
  const std::string named = options.checkpoint_in.value_or(kDefaultCheckpointIn);
  if (named.empty()) return {"", true};
  if (options.checkpoint_in && file_exists(named)) return {named};
  const std::string own = latest(options, options.checkpoint_out);
  if (holds_something(own)) return {own};
  return {file_exists(named) ? named : ""};
}

std::vector<std::string> files_of(const FinetuneOptions& options, const std::string& name) {
  std::vector<std::string> names;
  if (name.empty()) return names;
  names.push_back(latest(options, name));
  if (options.save_best && name == options.lora_out) names.push_back(best_path(options));
  std::ranges::move(numbered(options, name), std::back_inserter(names));
  std::erase_if(names, [](const std::string& path) { return !holds_something(path); });
  return names;
}

void expect_no_files(const FinetuneOptions& options) {
  for (const std::string& name : {options.checkpoint_out, options.lora_out}) {
    for (const std::string& path : files_of(options, name))
      fail("{}: is there already, and there is no checkpoint to go on from; {}", path, kWaysOut);
  }
}

std::string expect_own_files(const FinetuneOptions& options, const std::string& checkpoint,
                             const TrainState& state, const Settings& run) {
  std::string line;
  const std::vector<std::string> checkpoints = files_of(options, options.checkpoint_out);
  const std::string own = latest(options, options.checkpoint_out);
  const bool has_latest = std::ranges::find(checkpoints, own) != checkpoints.end();
  for (const std::string& path : checkpoints) {
    // Numbered ones beside a latest one of this run are older, or left of a run that it was begun over.
    if (same_file(path, checkpoint) || (has_latest && path != own)) continue;
    const CheckpointHead head = read_found(options, path, read_checkpoint_head);
    expect_fits(head.settings, path, run);
    if (head.iteration > state.iteration && line.empty()) {
      line = fmt::format(
          "note: {} is further on, at iteration {}; what is younger than iteration {} will be written over",
          path, head.iteration, state.iteration);
    }
  }
  if (!is_own_name(options, state)) {
    for (const std::string& path : files_of(options, options.lora_out))
      fail("{}: is there already, and not of the run of {}: give --lora-out another name, or remove it", path,
           checkpoint);
  }
  return line;
}

void expect_own_adapter(const FinetuneOptions& options, const Checkpoint& checkpoint) {
  const TrainState& state = checkpoint.state;
  if (state.lora_out && is_own_name(options, state)) return;
  for (const std::string& path : output_paths(options, options.lora_out, state.iteration)) {
    if (!holds_something(path)) continue;
    const auto is_own = [&] {
      try {
        const Gguf file = Gguf::open(path);
        const auto fact = [&](const std::string& name) {
          return file.get_string("lora_cpp." + name).value_or("");
        };
        return file.get_string("general.type") == "adapter" && fact("seed") == std::to_string(state.seed) &&
               fact("context_length") == setting(checkpoint, "--ctx");
      } catch (const Error&) {
        return false;
      }
    };
    if (!is_own())
      fail("{}: is there already, and no adapter of this run: give --lora-out another name, or remove it",
           path);
  }
}

}  // namespace lora
