#include "adapter/peft_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "adapter/pairs.h"
#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/json_depth.h"
#include "base/numbers.h"
#include "base/printable.h"

namespace lora {
namespace {

using Json = nlohmann::ordered_json;  // the patterns' order counts

// Settings under which the tensors of the folder are not the whole adapter, or not plain LoRA, where they are
// set (LoraConfig of PEFT 0.20).
struct Refused {
  const char* key;
  const char* why;
  bool can_leave_out = true;  // the rest by itself is a LoRA
};
constexpr Refused kRefused[] = {
    {"use_dora", "DoRA adapters are not supported"},
    {"modules_to_save",
     "whole modules beside the LoRA are not supported; merge them into the model with PEFT"},
    {"bias", "adapters with biases are not supported"},
    {"lora_bias", "adapters with biases are not supported"},
    {"trainable_token_indices", "trained token rows beside the LoRA are not supported"},
    {"layer_replication", "replicated layers are not supported", false},
    {"alora_invocation_tokens", "activated LoRA is not supported", false},
    {"use_qalora", "QALoRA is not supported", false},
    {"ensure_weight_tying", "an embedding's LoRA that the output shares is not supported"},
    {"use_bdlora", "block-diagonal LoRA is not supported", false},
    {"arrow_config", "LoRAs that are routed between are not supported", false},
    {"monteclora_config", "Monte Carlo LoRA is not supported", false},
    {"kasa_config", "KaSA, which changes the model as it is loaded, is not supported", false},
    {"megatron_config", "LoRA on Megatron's parallel layers is not supported", false},
    {"enable_lora", "LoRA on parts of a matrix is not supported", false},
};

// Settings that are read below, that the tensors themselves answer, or that are of the training alone.
constexpr const char* kOthers[] = {
    "fan_in_fan_out",  // how the model's own weights lie; A and B are the same
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "base_model_name_or_path",
    "init_lora_weights",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "auto_mapping",
    "inference_mode",
    "megatron_core",
    "merge_weights",
    "peft_version",
    "target_parameters",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    "corda_config",
    "eva_config",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "velora_config",
    "lora_dtype",
    "lorap_emb_lr",
    "lorap_lr_ratio",  // ms-swift's
};

// Words of init_lora_weights. Those without a reason to refuse them say how A and B began.
struct Initializer {
  std::string_view word;
  const char* refused = nullptr;
  LoraStart start = LoraStart::plain;
};
constexpr Initializer kInitializers[] = {
    {"gaussian"},
    {"eva"},         // directions of activations for A, B zero
    {"orthogonal"},  // random directions, B A zero
    {"mica"},        // directions of the weight for B, A zero
    {"pissa", nullptr, LoraStart::pissa},
    {"olora", nullptr, LoraStart::olora},
    {"pissa_niter_*", "takes a random approximation of the model's components out of the model"},
    {"corda", "takes components out of the model that depend on the data they were measured on"},
    {"loftq", "replaces the model's weights by quantized ones"},
    {"lora_ga", "takes components out of the model that depend on gradients"},
};

bool is_set(const Json& value) {
  if (value.is_null() || value == false || value == "none" || value == "") return false;
  return !(value.is_structured() && value.empty());
}

double number(const Json& value, const std::string& path, const std::string& key) {
  if (!value.is_number()) fail("{}: {}: expected a number, found {}", path, key, value.type_name());
  const double result = value.get<double>();
  if (!(std::fabs(result) <= 1e30)) fail("{}: {}: expected a number of at most 1e30", path, key);
  return result;
}

int64_t positive_integer(const Json& value, const std::string& path, const std::string& key) {
  const double result = number(value, path, key);
  if (result < 1 || result > 1e9 || result != std::floor(result)) {
    fail("{}: {}: expected a positive whole number, found {}", path, key, result);
  }
  return int64_t(result);
}

// False where it is absent or null.
bool flag(const Json& object, const std::string& path, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return false;
  if (!found->is_boolean()) fail("{}: {}: expected true or false, found {}", path, key, found->type_name());
  return found->get<bool>();
}

const Json& required(const Json& object, const std::string& path, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) fail("{}: {}: missing", path, key);
  return *found;
}

std::string string_or_empty(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// "0.19.1": 0, 19
std::optional<std::pair<int64_t, int64_t>> version_of(std::string_view text) {
  const auto major = take_number<int32_t>(text);
  if (!major || !text.starts_with('.')) return std::nullopt;
  text.remove_prefix(1);
  const auto minor = take_number<int32_t>(text);
  return minor ? std::optional(std::pair<int64_t, int64_t>(*major, *minor)) : std::nullopt;
}

LoraStart start_of(const Json& value, const std::string& path) {
  constexpr const char* kWayOut =
      "; a plain LoRA is what PEFT's save_pretrained writes with path_initial_model_for_weight_conversion "
      "(LLaMA-Factory: the folder pissa_converted), or, where the model given is the changed one, what this "
      "says with init_lora_weights true";
  if (value.is_boolean() || value.is_null()) return LoraStart::plain;
  if (!value.is_string()) {
    fail("{}: init_lora_weights: expected a word, true or false, found {}", path, value.type_name());
  }
  const std::string word = value.get<std::string>();
  for (const Initializer& row : kInitializers) {
    const bool is_family = row.word.ends_with('*');
    const std::string_view stem = row.word.substr(0, row.word.size() - (is_family ? 1 : 0));
    const bool same = equal_in_any_case(stem, std::string_view(word).substr(0, stem.size()));
    if (!same || (!is_family && word.size() != stem.size())) continue;
    if (row.refused) fail("{}: init_lora_weights: {} {}{}", path, printable(word), row.refused, kWayOut);
    return row.start;
  }
  fail("{}: init_lora_weights: {} is not known, and may have changed the model{}", path, printable(word),
       kWayOut);
}

// A setting that no table knows may change what the tensors mean.
void refuse_unknown(const Json& config, const std::string& path, std::vector<LeftOut>* left_out) {
  for (const auto& [key, value] : config.items()) {
    const auto is_it = [&, name = std::string_view(key)](const auto& known) { return name == known; };
    if (!is_set(value) || std::ranges::any_of(kOthers, is_it) ||
        std::ranges::any_of(kRefused, is_it, &Refused::key)) {
      continue;
    }
    leave_out(left_out, path, printable(key), "not known, and may change what the tensors mean");
  }
}

// What mlx-lm writes: {"lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.0, "keys": [...]},
// "fine_tune_type": "lora", "model": "...", ...}. An "alpha" among the parameters has no effect there.
PeftConfig mlx_config(const Json& config, const std::string& path, std::vector<LeftOut>* left_out) {
  const Json& parameters = config["lora_parameters"];
  if (!parameters.is_object()) {
    fail("{}: lora_parameters: expected an object, found {}", path, parameters.type_name());
  }
  if (const auto type = config.find("fine_tune_type"); type != config.end() && !type->is_string())
    fail("{}: fine_tune_type: expected \"lora\", found {}", path, type->type_name());
  const std::string type = string_or_empty(config, "fine_tune_type");
  const auto use_dora = config.find("use_dora");
  if (type == "dora" || (use_dora != config.end() && is_set(*use_dora))) {
    leave_out(left_out, path, "fine_tune_type", "DoRA adapters are not supported");
  } else if (!type.empty() && type != "lora") {
    fail("{}: fine_tune_type: expected \"lora\", found \"{}\"", path, printable(type));
  }
  for (const auto& [key, value] : parameters.items()) {
    constexpr std::string_view known[] = {"rank", "scale", "alpha", "dropout", "keys"};
    if (is_set(value) && std::ranges::find(known, std::string_view(key)) == std::end(known)) {
      leave_out(left_out, path, "lora_parameters." + printable(key),
                "not known, and may change what the tensors mean");
    }
  }
  PeftConfig result;
  result.is_mlx = true;
  result.r = positive_integer(required(parameters, path, "rank"), path, "rank");
  result.lora_alpha = number(required(parameters, path, "scale"), path, "scale") * double(result.r);
  result.base_model = string_or_empty(config, "model");
  return result;
}

template <class T, class Read>
ModulePatterns<T> patterns(const Json& config, const std::string& path, const char* name, const Read& read) {
  ModulePatterns<T> result;
  const auto found = config.find(name);
  if (found == config.end() || found->is_null()) return result;
  if (!found->is_object()) fail("{}: {}: expected an object, found {}", path, name, found->type_name());
  for (const auto& [key, value] : found->items()) {
    result.add(ModulePattern(key, path), read(value, path, std::string(name) + "." + printable(key)));
  }
  return result;
}

}  // namespace

ModulePattern::ModulePattern(std::string key, const std::string& path) : key_(std::move(key)), path_(path) {
  pattern_ = Pattern::compile("(?:.*\\.)?(?:" + key_ + ")$", {.at_start = true});
  if (!pattern_) fail("{}: pattern \"{}\": not a regular expression", path_, printable(key_));
}

bool ModulePattern::matches(std::string_view module) const {
  bool is_costly = false;
  return matches(module, is_costly);
}

bool ModulePattern::matches(std::string_view module, bool& is_costly) const {
  constexpr uint32_t kUsualSteps = 500;
  std::optional<bool> found = pattern_->matches(module, kUsualSteps);
  is_costly = !found;
  if (is_costly) found = pattern_->matches(module);
  if (!found) fail("{}: pattern \"{}\": too costly to match", path_, printable(key_));
  return *found;
}

template <class T>
std::optional<T> ModulePatterns<T>::of(std::string_view module) const {
  constexpr int64_t kMostMatches = 5'000'000, kMostCostly = 2'000;
  if (const auto known = search_.found.find(module); known != search_.found.end()) return known->second;
  std::optional<T>& found = search_.found[std::string(module)];
  for (const auto& [pattern, value] : rows_) {
    bool is_costly = false;
    const bool matches = pattern.matches(module, is_costly);
    search_.n_costly += is_costly;
    if (++search_.n_matches > kMostMatches || search_.n_costly > kMostCostly) {
      fail("{}: {} patterns for module {} and {} before: too costly to match", pattern.path(), rows_.size(),
           printable(module), search_.found.size() - 1);
    }
    if (matches) return found = value;
  }
  return found;
}

template class ModulePatterns<int64_t>;
template class ModulePatterns<double>;

int64_t PeftConfig::rank(std::string_view module) const {
  return rank_pattern.of(module).value_or(r);
}

double PeftConfig::scale(std::string_view module) const {
  const double n = double(rank(module));
  return alpha_pattern.of(module).value_or(lora_alpha) / (use_rslora ? std::sqrt(n) : n);
}

PeftConfig read_peft_config(const std::string& folder, std::vector<LeftOut>* left_out) {
  const std::string path = folder + "/adapter_config.json";
  if (!file_exists(path) && file_exists(folder + "/config.json")) {
    fail("{}: holds a model, not a LoRA; that is for lora convert", folder);
  }
  return parse_peft_config(MappedFile(path).text(), path, left_out);
}

PeftConfig parse_peft_config(std::string_view text, const std::string& path, std::vector<LeftOut>* left_out) {
  if (nests_too_deep(text)) fail("{}: nests deeper than it should", path);
  // Fields in their order are searched one by one: thousands take a second, and a file of megabytes hours.
  constexpr auto kMostFields = 20'000;
  if (std::ranges::count(text, ':') > kMostFields) fail("{}: more than {} fields", path, kMostFields);
  const Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (config.is_discarded()) refuse_known_kind(std::as_bytes(std::span(text)), path, "JSON");
  if (!config.is_object()) fail("{}: expected a JSON object", path);
  if (!config.contains("peft_type") && config.contains("lora_parameters")) {
    return mlx_config(config, path, left_out);
  }
  const auto type = config.find("peft_type");
  if (type == config.end() || *type != "LORA") {
    fail("{}: peft_type: expected \"LORA\", found {}", path,
         type == config.end() ? "none"
         : type->is_string()  ? fmt::format("\"{}\"", printable(type->get<std::string>()))
                              : type->type_name());
  }
  for (const Refused& refused : kRefused) {
    const auto value = config.find(refused.key);
    if (value == config.end() || !is_set(*value)) continue;
    if (!refused.can_leave_out) fail("{}: {}: {}", path, refused.key, refused.why);
    leave_out(left_out, path, refused.key, refused.why);
  }
  refuse_unknown(config, path, left_out);
  PeftConfig result;
  result.r = positive_integer(required(config, path, "r"), path, "r");
  result.lora_alpha = number(required(config, path, "lora_alpha"), path, "lora_alpha");
  result.use_rslora = flag(config, path, "use_rslora");
  result.rank_pattern = patterns<int64_t>(config, path, "rank_pattern", positive_integer);
  result.alpha_pattern = patterns<double>(config, path, "alpha_pattern", number);
  result.base_model = string_or_empty(config, "base_model_name_or_path");
  result.peft_version = version_of(string_or_empty(config, "peft_version"));
  if (const auto init = config.find("init_lora_weights"); init != config.end()) {
    result.start = start_of(*init, path);
  }
  return result;
}

}  // namespace lora
