#include "adapter/peft_config.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "adapter/pairs.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/json_depth.h"
#include "base/printable.h"

namespace lora {
namespace {

using Json = nlohmann::ordered_json;  // the patterns' order counts

// Settings under which the tensors of the folder are not the whole adapter, or not plain LoRA.
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
    {"target_parameters", "LoRA on bare parameters is not supported"},
    {"layer_replication", "replicated layers are not supported", false},
    {"alora_invocation_tokens", "activated LoRA is not supported", false},
    {"use_qalora", "QALoRA is not supported", false},
    {"fan_in_fan_out", "transposed weights are not supported", false},
};

bool is_set(const Json& value) {
  if (value.is_null() || value == false || value == "none") return false;
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

const Json& required(const Json& object, const std::string& path, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) fail("{}: {}: missing", path, key);
  return *found;
}

std::string string_or_empty(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// What mlx-lm writes: {"lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.0, "keys": [...]},
// "fine_tune_type": "lora", "model": "...", ...}. An "alpha" among the parameters has no effect there.
PeftConfig mlx_config(const Json& config, const std::string& path, std::vector<LeftOut>* left_out) {
  const Json& parameters = config["lora_parameters"];
  if (!parameters.is_object()) {
    fail("{}: lora_parameters: expected an object, found {}", path, parameters.type_name());
  }
  const std::string type = string_or_empty(config, "fine_tune_type");
  const auto use_dora = config.find("use_dora");
  if (type == "dora" || (use_dora != config.end() && is_set(*use_dora))) {
    leave_out(left_out, path, "fine_tune_type", "DoRA adapters are not supported");
  } else if (!type.empty() && type != "lora") {
    fail("{}: fine_tune_type: expected \"lora\", found \"{}\"", path, printable(type));
  }
  PeftConfig result;
  result.is_mlx = true;
  result.r = positive_integer(required(parameters, path, "rank"), path, "rank");
  result.lora_alpha = number(required(parameters, path, "scale"), path, "scale") * double(result.r);
  result.base_model = string_or_empty(config, "model");
  return result;
}

template <class T, class Read>
std::vector<std::pair<ModulePattern, T>> patterns(const Json& config, const std::string& path,
                                                  const char* name, const Read& read) {
  std::vector<std::pair<ModulePattern, T>> result;
  const auto found = config.find(name);
  if (found == config.end() || found->is_null()) return result;
  if (!found->is_object()) fail("{}: {}: expected an object, found {}", path, name, found->type_name());
  for (const auto& [key, value] : found->items()) {
    result.emplace_back(ModulePattern(key, path),
                        read(value, path, std::string(name) + "." + printable(key)));
  }
  return result;
}

template <class T>
T first_match(const std::vector<std::pair<ModulePattern, T>>& patterns, std::string_view module,
              T otherwise) {
  for (const auto& [pattern, value] : patterns) {
    if (pattern.matches(module)) return value;
  }
  return otherwise;
}

}  // namespace

struct ModulePattern::Code {
  pcre2_code* code;
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
};

ModulePattern::ModulePattern(std::string key, const std::string& path) : key_(std::move(key)), path_(path) {
  const std::string pattern = "(?:.*\\.)?(?:" + key_ + ")$";
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_ANCHORED, &error, &offset, nullptr);
  if (code == nullptr) fail("{}: pattern \"{}\": not a regular expression", path_, printable(key_));
  code_ = std::make_shared<Code>(code);
}

bool ModulePattern::matches(std::string_view module) const {
  using Context = std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)>;
  using Data = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;
  const Context context(pcre2_match_context_create(nullptr), pcre2_match_context_free);
  const Data data(pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  pcre2_set_match_limit(context.get(), 100000);
  const int found = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(module.data()), module.size(), 0, 0,
                                data.get(), context.get());
  if (found < 0 && found != PCRE2_ERROR_NOMATCH)
    fail("{}: pattern \"{}\": too costly to match", path_, printable(key_));
  return found >= 0;
}

int64_t PeftConfig::rank(std::string_view module) const {
  return first_match(rank_pattern, module, r);
}

double PeftConfig::scale(std::string_view module) const {
  const double n = double(rank(module));
  return first_match(alpha_pattern, module, lora_alpha) / (use_rslora ? std::sqrt(n) : n);
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
  PeftConfig result;
  result.r = positive_integer(required(config, path, "r"), path, "r");
  result.lora_alpha = number(required(config, path, "lora_alpha"), path, "lora_alpha");
  if (const auto flag = config.find("use_rslora"); flag != config.end()) result.use_rslora = is_set(*flag);
  result.rank_pattern = patterns<int64_t>(config, path, "rank_pattern", positive_integer);
  result.alpha_pattern = patterns<double>(config, path, "alpha_pattern", number);
  result.base_model = string_or_empty(config, "base_model_name_or_path");
  result.initializer = string_or_empty(config, "init_lora_weights");
  return result;
}

}  // namespace lora
