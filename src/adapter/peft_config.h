// adapter_config.json of a folder of PEFT or MLX: what of it decides how the tensors are applied.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapter/adapter.h"
#include "base/pattern.h"

namespace lora {

// A key of rank_pattern or alpha_pattern: a regular expression for the end of a module's name,
// from a dot or the start on. PEFT takes the first key that matches.
class ModulePattern {
 public:
  ModulePattern(std::string key, const std::string& path);  // Error naming path if it is malformed
  // Error if matching takes more steps than any sensible pattern needs. is_costly: it takes many.
  bool matches(std::string_view module) const;
  bool matches(std::string_view module, bool& is_costly) const;
  const std::string& path() const { return path_; }

 private:
  std::string key_, path_;
  std::optional<Pattern> pattern_;
};

// A dictionary of them.
template <class T>
class ModulePatterns {
 public:
  void add(ModulePattern pattern, T value) { rows_.emplace_back(std::move(pattern), std::move(value)); }
  // What the first pattern that matches says. Each module is looked for once. Error once that has taken more
  // than any sensible adapter needs: each of two short files can have tens of thousands, and of minutes.
  std::optional<T> of(std::string_view module) const;

 private:
  struct Search {
    std::map<std::string, std::optional<T>, std::less<>> found;
    int64_t n_matches = 0, n_costly = 0;
  };
  std::vector<std::pair<ModulePattern, T>> rows_;
  mutable Search search_;
};

// What init_lora_weights says that A and B began with, as far as it counts after the training.
enum class LoraStart {
  plain,  // B A = 0 on the model as it is
  pissa,  // parts of the model's own weights, which are taken out of the model (start.h)
  olora,
};

struct PeftConfig {
  bool is_mlx = false;  // then lora_alpha is scale x rank
  int64_t r = 0;
  double lora_alpha = 0;
  bool use_rslora = false;
  ModulePatterns<int64_t> rank_pattern;
  ModulePatterns<double> alpha_pattern;
  std::string base_model;  // base_model_name_or_path; "model" in MLX
  LoraStart start = LoraStart::plain;
  std::optional<std::pair<int64_t, int64_t>> peft_version;  // that wrote it: 0, 19

  // For a module's name without "base_model.model.", e.g. "model.layers.0.self_attn.q_proj".
  int64_t rank(std::string_view module) const;
  // alpha / r; alpha / sqrt(r) with use_rslora.
  double scale(std::string_view module) const;
};

// Of the folder's adapter_config.json. Error naming the path and the key if the file is malformed or asks for
// what is not plain LoRA; with `left_out`, what can be left out of the adapter is added there instead.
PeftConfig read_peft_config(const std::string& folder, std::vector<LeftOut>* left_out = nullptr);
PeftConfig parse_peft_config(std::string_view text, const std::string& path,
                             std::vector<LeftOut>* left_out = nullptr);

// read_adapter_peft (adapter.h) where the folder's adapter_config.json is read already.
Adapter read_adapter_peft(const std::string& folder, const PeftConfig& config, const PeftBase& base,
                          std::vector<LeftOut>* left_out, const AdapterReading& reading = {});

}  // namespace lora
