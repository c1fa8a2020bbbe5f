#include "train/outputs.h"

#include "base/error.h"
#include "base/file.h"
#include "base/same_file.h"

namespace lora {
namespace {

struct Named {
  std::string flag, path;
};

void expect_spared(const std::string& flag, const std::string& path, const Named& other) {
  const std::string file = replaced_by(path, other.path);
  if (file.empty()) return;
  if (same_file(file, path)) fail("{}: {} is the file of {}", flag, path, other.flag);
  fail("{}: {} is written as {} first, the file of {}", flag, path, AtomicFile::temporary_name(path),
       other.flag);
}

}  // namespace

std::string fill_pattern(std::string name, const std::string& pattern, const std::string& value) {
  if (pattern.empty()) return name;
  for (size_t at = 0; (at = name.find(pattern, at)) != std::string::npos; at += value.size()) {
    name.replace(at, pattern.size(), value);
  }
  return name;
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
  std::vector<Named> others = {{"--model-base", options.model_base}};
  for (const std::string& path : options.train_data) others.push_back({"--train-data", path});
  for (const std::string& path : options.val_data) others.push_back({"--val-data", path});
  if (!options.lora_init.empty()) others.push_back({"--lora-init", options.lora_init});
  if (!options.metrics.empty()) {
    if (same_file(options.metrics, checkpoint_in)) {
      fail("--metrics: {} is the file of --checkpoint-in", options.metrics);
    }
    for (const Named& other : others) {
      if (same_file(options.metrics, other.path))
        fail("--metrics: {} is the file of {}", options.metrics, other.flag);
    }
    others.push_back({"--metrics", options.metrics});
    if (!file_exists(options.metrics)) const AtomicFile can_be_created(options.metrics);
  }
  std::vector<Named> outputs;
  // A checkpoint may replace the one the run began with; nothing else may.
  for (const auto& [flag, name] :
       {Named{"--lora-out", options.lora_out}, Named{"--checkpoint-out", options.checkpoint_out}}) {
    std::vector<std::string> paths = output_paths(options, name, last_iteration);
    if (options.save_best && flag == "--lora-out") paths.push_back(best_path(options));
    for (const std::string& path : paths) {
      if (!same_file(path, checkpoint_in)) {
        expect_spared(flag, path, {"--checkpoint-in", checkpoint_in});
      } else if (flag == "--lora-out") {
        fail("{}: {} is the file of --checkpoint-in", flag, path);
      }
      for (const Named& other : others) expect_spared(flag, path, other);
      for (const Named& other : outputs) {
        expect_spared(flag, path, other);
        expect_spared(other.flag, other.path, {flag, path});
      }
      const AtomicFile can_be_created(path);  // and is gone again
    }
    for (const std::string& path : paths) outputs.push_back({flag, path});
  }
}

}  // namespace lora
