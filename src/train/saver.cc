#include "train/saver.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/file_status.h"
#include "base/same_file.h"
#include "kernels/optimizer/adamw.h"
#include "train/outputs.h"

namespace lora {
namespace {

// Nothing in it depends on time, paths or threads.
Adapter adapter_of(const LoraParameters& parameters, const TrainState& state, const Settings& settings,
                   const Model& model, int64_t n_ctx) {
  Adapter adapter = to_adapter(parameters, model);
  const RopeParameters &used = model.config.rope, own = read_config(model.gguf).rope;
  if (used.freq_base != own.freq_base) adapter.rope_freq_base = float(used.freq_base);
  if (used.freq_scale != own.freq_scale) adapter.rope_freq_scale = float(used.freq_scale);
  adapter.facts = {{"seed", std::to_string(state.seed)},
                   {"iteration", std::to_string(state.iteration)},
                   {"context_length", std::to_string(n_ctx)},
                   {"run", run_id(settings)}};
  return adapter;
}

Adapter adapter_of(const Setup& s) {
  return adapter_of(s.parameters, s.state, s.settings, s.model, s.options.n_ctx);
}

void write_checkpoint_of(const Setup& s, const std::string& path) {
  write_checkpoint(path, s.state, s.settings, s.options.optimizer, s.parameters, s.lbfgs, s.model);
}

}  // namespace

Saved save(const Setup& setup) {
  const FinetuneOptions& options = setup.options;
  const LoraParameters& p = setup.parameters;
  for (int64_t i = 0; i < p.values.size(); ++i) {
    if (std::isfinite(p.values[i])) continue;
    fail(
        "iteration {}: the adapter is no longer finite, a lower --adam-alpha may help; what was saved before "
        "stays",
        setup.state.iteration);
  }
  Saved saved;
  const auto write_all = [&](const std::string& pattern, std::string& last, const auto& write) {
    for (const std::string& path : output_paths(options, pattern, setup.state.iteration)) {
      try {
        write(path);
        last = path;
      } catch (const Error& e) {
        if (saved.error.empty()) saved.error = e.what();
      }
    }
  };
  // The checkpoint first: it is what a run cannot do without.
  write_all(options.checkpoint_out, saved.checkpoint_path,
            [&](const std::string& path) { write_checkpoint_of(setup, path); });
  if (!options.lora_out.empty()) {
    const Adapter adapter = adapter_of(setup);
    write_all(options.lora_out, saved.lora_path,
              [&](const std::string& path) { write_adapter_gguf(adapter, path); });
  }
  return saved;
}

std::vector<std::string> remove_older(const Setup& setup) {
  const FinetuneOptions& options = setup.options;
  std::vector<std::string> left;
  if (options.keep <= 0) return left;
  const std::string id = run_id(setup.settings), named = options.checkpoint_in.value_or("");
  for (const auto& [name, is_own] : {std::pair{&options.checkpoint_out, &is_checkpoint_of},
                                     std::pair{&options.lora_out, &is_adapter_of}}) {
    std::map<int64_t, std::string> files = numbered_files(options, *name);
    files.erase(files.upper_bound(setup.state.iteration), files.end());
    int64_t n = 0;
    for (auto file = files.rbegin(); file != files.rend(); ++file) {
      const std::string& path = file->second;
      if (!is_own(id, path) || ++n <= options.keep || (!named.empty() && same_file(path, named))) continue;
      if (options.save_best && same_file(path, best_path(options))) continue;
      remove_file(path);
      if (file_exists(path)) left.push_back(path);
    }
  }
  return left;
}

std::vector<std::string> write_missing_adapters(const Setup& setup) {
  const FinetuneOptions& options = setup.options;
  const int64_t iteration = setup.state.iteration;
  const std::vector<std::string> checkpoints = output_paths(options, options.checkpoint_out, iteration);
  const auto began_with = [&](const std::string& path) { return same_file(path, setup.resume.path); };
  if (std::ranges::none_of(checkpoints, began_with)) return {};
  const bool is_latest = began_with(checkpoints.back());
  const std::string id = run_id(setup.settings);
  std::vector<std::string> missing;
  std::optional<Adapter> adapter;
  const std::vector<std::string> paths = output_paths(options, options.lora_out, iteration);
  for (const std::string& path : paths) {
    const bool is_missing = !is_adapter_of(id, path);  // another run's, which it was begun over, counts
    if (!is_missing && !(is_latest && path == paths.back())) continue;
    if (!adapter) adapter = adapter_of(setup);
    write_adapter_gguf(*adapter, path);
    if (is_missing) missing.push_back(path);
  }
  return missing;
}

std::string save_beginning(const Setup& setup) {
  const FinetuneOptions& options = setup.options;
  const std::vector<std::string> paths = output_paths(options, options.checkpoint_out, 0);
  if (paths.empty()) return "";
  // Before the checkpoint: killed in between, the run can only be begun anew again.
  if (setup.resume.overwrites && !adapters_of(options).empty()) {
    const Adapter adapter = adapter_of(setup);
    const std::vector<std::string> latest = output_paths(options, options.lora_out, 0);
    if (!latest.empty()) write_adapter_gguf(adapter, latest.back());
    if (options.save_best && file_exists(best_path(options))) write_adapter_gguf(adapter, best_path(options));
  }
  write_checkpoint_of(setup, paths.back());
  return paths.back();
}

void save_best(const Setup& setup) {
  write_adapter_gguf(adapter_of(setup), best_path(setup.options));
}

std::string write_adapter_of_checkpoint(const FinetuneOptions& options, const std::string& path,
                                        int64_t& iteration, const Say& say) {
  if (path.empty()) {
    fail("--only-write-lora: no checkpoint {} (--checkpoint-in names it)",
         options.checkpoint_in.value_or(kDefaultCheckpointIn));
  }
  FinetuneOptions written = options;  // nothing else is
  written.checkpoint_out = written.metrics = "";
  written.save_best = false;
  const std::vector<Hold> holds = hold_outputs(written, path, say);
  const Checkpoint checkpoint = read_checkpoint(path);
  const auto number = [&](std::string_view name) { return number_setting(checkpoint, path, name); };
  const Model model =
      load_model(options.model_base, {number("--rope-freq-base"), number("--rope-freq-scale"), std::nullopt});
  if (setting(checkpoint, "model") != fmt::format("{:016x}", fingerprint(model.gguf)))
    fail("{}: model differs: the checkpoint is not of {}", path, options.model_base);
  expect_asked_for(options, model, checkpoint, path);
  iteration = checkpoint.state.iteration;
  check_outputs(written, path, iteration);
  expect_own_adapters(written, path, checkpoint.settings);
  std::string last;
  const Adapter adapter = adapter_of(checkpoint.parameters, checkpoint.state, checkpoint.settings, model,
                                     std::llround(number("--ctx")));
  if (adapter.pairs.empty()) fail("{}: only norms are trained, which an adapter file leaves out", path);
  for (const std::string& out : output_paths(options, options.lora_out, iteration)) {
    write_adapter_gguf(adapter, out);
    last = out;
  }
  return last;
}

}  // namespace lora
