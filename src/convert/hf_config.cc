#include "convert/hf_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/elementary.h"
#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "convert/hf_unheld.h"
#include "convert/json_file.h"
#include "convert/quantized_weights.h"

namespace lora {
namespace {

using nlohmann::json;

struct Fields {
  const json& object;
  const std::string& path;

  std::optional<int64_t> size(const char* key) const {
    const json* field = json_field(object, key);
    if (!field) return std::nullopt;
    const auto value = json_integer(object, key);
    if (!value || *value < 1 || *value > (int64_t{1} << 31)) {
      fail("{}: {}: {} makes no sense", path, key, printable(field->dump()));
    }
    return value;
  }
  // otherwise: what the class has by default; 0: it must be there.
  int64_t required_size(const char* key, int64_t otherwise = 0) const {
    const int64_t value = size(key).value_or(otherwise);
    if (value == 0) fail("{}: {}: missing", path, key);
    return value;
  }
  std::optional<double> positive(const char* key) const {
    const json* field = json_field(object, key);
    if (!field) return std::nullopt;
    const auto value = json_number(object, key);
    if (!value || !std::isfinite(float(*value)) || !(float(*value) > 0)) {  // as it will be stored
      fail("{}: {}: {} makes no sense", path, key, printable(field->dump()));
    }
    return value;
  }
  std::vector<double> positives(const char* key) const {
    std::vector<double> values;
    const json* field = json_field(object, key);
    if (!field) return values;
    for (const json& element : *field) {
      if (!element.is_number() || !(element.get<double>() > 0)) fail("{}: {}: makes no sense", path, key);
      values.push_back(element.get<double>());
    }
    return values;
  }
  // One id; of several the first.
  std::optional<int64_t> token(const char* key, std::vector<std::string>& notes) const {
    const json* field = json_field(object, key);
    if (field && field->is_array() && !field->empty()) field = &field->front();
    if (!field || (field->is_array() && field->empty())) return std::nullopt;
    if (field->is_number_integer()) return field->get<int64_t>();
    notes.push_back(fmt::format("{}: {} is no id, it is left out", key, printable(field->dump())));
    return std::nullopt;
  }
};

std::optional<std::string> class_of(const json& object) {
  const json* classes = json_field(object, "architectures");
  if (!classes || !classes->is_array() || classes->empty() || !classes->front().is_string())
    return std::nullopt;
  return classes->front().get<std::string>();
}

// Of the class; where it is one with language models of several kinds, of this one's model_type.
bool find_row(const std::string& name, const std::string& type, const std::string& path, HfConfig& config) {
  for (const Architecture* row : architectures()) {
    if (!row->hf) continue;
    for (const HfClass& known : row->hf->classes) {
      if (known.name != name || (!known.model_type.empty() && known.model_type != type)) continue;
      if (!known.why_not.empty())
        fail("{}: architecture '{}' is not supported: {}", path, printable(name), known.why_not);
      config.architecture = row;
      config.hf_class = &known;
      return true;
    }
  }
  return false;
}

// By the name of the class, or where a model also sees, by that of its language model.
void find_class(const json& root, const std::string& path, HfConfig& config) {
  const auto name = class_of(root);
  if (!name) fail("{}: architectures: missing: not the config.json of a language model?", path);
  const json* text = json_field(root, "text_config");
  const std::string type = json_text(text ? *text : root, "model_type").value_or("");
  if (find_row(*name, type, path, config)) return;
  if (const auto within = text ? class_of(*text) : std::nullopt;
      within && find_row(*within, type, path, config))
    return;
  std::string types;
  for (const Architecture* row : architectures()) {
    if (!row->hf) continue;
    for (const HfClass& one : row->hf->classes) {
      const std::string more = fmt::format("{}{}", types.empty() ? "" : ", ", one.model_type);
      if (one.name == *name && !types.ends_with(more)) types += more;
    }
  }
  if (!types.empty()) {
    fail("{}: architecture '{}': a language model of model_type '{}' is not supported (known: {})", path,
         printable(*name), printable(type), types);
  }
  if (const NotComputed* row = find_not_computed(*name))
    fail("{}: architecture '{}' is not supported: {}", path, *name, row->why);
  const std::string foreign = what_is_foreign(text ? *text : root, *name);
  fail("{}: architecture '{}' is not supported{} (lora convert --help lists those that are)", path,
       printable(*name), foreign.empty() ? "" : ": it has " + foreign);
}

// Rotary numbers may stand in either of two objects.
bool is_absent(const json& root, const std::string& key) {
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    const json* object = json_field(root, name);
    if (object && ((object->is_object() && object->contains(key)) || key == "rope_scaling")) return false;
  }
  return !root.contains(key);
}

void add_defaults(std::span<const HfDefault> rows, json& root) {
  for (const HfDefault& row : rows) {
    if (is_absent(root, row.key)) root[row.key] = json::parse(row.json);
  }
}

// As of late, names of layers' kinds are the same in all classes.
void rename_layer_types(json& root) {
  if (!json_field(root, "layer_types")) return;
  for (json& type : root["layer_types"]) {
    if (type == "mamba") type = "linear_attention";
    if (type == "attention") type = "full_attention";
  }
}

// "dense" or "sparse" for each layer, in place of a number of dense layers in front.
void read_mlp_layer_types(const HfConfig& config, json& root) {
  constexpr const char* kKey = "mlp_layer_types";
  const json* types = stated_list(root, kKey, config.path);
  if (!types || !config.hf_class->has_experts) return;
  int64_t n_dense = 0, layer = 0;
  for (const json& type : *types) {
    if (type != "dense" && type != "sparse")
      fail("{}: {}: {} makes no sense", config.path, kKey, printable(type.dump()));
    if (type == "dense" && layer != n_dense) {
      fail("{}: {}: \"dense\" in layer {}: GGUF's {} has such layers in front alone", config.path, kKey,
           layer, config.architecture->name);
    }
    n_dense += type == "dense";
    ++layer;
  }
  const auto n_layer = json_integer(root, config.architecture->hf->sizes.n_layer);
  if (n_layer && *n_layer != int64_t(types->size()))
    fail("{}: {}: {} for {} layers", config.path, kKey, types->size(), *n_layer);
  for (const HfCount& row : config.architecture->hf->counts) {
    if (row.gguf != "leading_dense_block_count") continue;
    if (const auto stated = json_integer(root, row.hf); stated && *stated != n_dense)
      fail("{}: {}: {}, but by {} it is {}", config.path, row.hf, *stated, kKey, n_dense);
    root[row.hf] = n_dense;
    return;
  }
  if (n_dense > 0)
    fail("{}: {}: \"dense\" in layer 0: GGUF's {} has experts in all layers", config.path, kKey,
         config.architecture->name);
}

void read_numbers(const json& object, const std::string& prefix, HfConfig& config) {
  for (const auto& [key, value] : object.items()) {
    if (!value.is_number() && !value.is_boolean() && !value.is_null())
      config.no_numbers[prefix + key] = value.dump();
    if (value.is_number()) config.numbers[prefix + key] = value.get<double>();
    if (value.is_boolean()) config.numbers[prefix + key] = value.get<bool>();
    const auto is_whole = [](const json& element) { return element.is_number_integer(); };
    if (value.is_array() && std::ranges::all_of(value, is_whole))
      config.lists[prefix + key] = value.get<std::vector<int64_t>>();
    if (value.is_string()) config.texts[prefix + key] = value.get<std::string>();
    if (!value.is_array() || value.empty()) continue;
    if (std::ranges::all_of(value, [](const json& element) { return element.is_number(); }))
      config.number_lists[prefix + key] = value.get<std::vector<double>>();
    if (std::ranges::all_of(value, [](const json& element) { return element.is_string(); }))
      config.text_lists[prefix + key] = value.get<std::vector<std::string>>();
  }
}

// A number that config.json may hold in two places, since transformers 4 and 5 differ in where they look.
template <class T>
void agree(const std::string& path, std::optional<T>& value, std::string_view key, std::optional<T> other,
           std::string_view other_key) {
  if (value && other && *value != *other) {
    fail("{}: {}: {}, but {} is {}: nothing tells which one the model was trained with; remove the wrong one",
         path, key, *value, other_key, *other);
  }
  if (!value) value = other;
}

// rope_scaling or rope_parameters, without what may stand outside of them, too.
HfRope read_scaling(const json& scaling, const std::string& path, std::string_view key) {
  if (!scaling.is_object()) fail("{}: {}: expected an object", path, key);
  HfRope rope;
  const Fields fields{scaling, path};
  rope.type = stated_text(scaling, "rope_type", path)
                  .value_or(stated_text(scaling, "type", path).value_or("default"));
  if (rope.type == "su") rope.type = "longrope";
  if (rope.type == "none") rope.type = "default";
  constexpr std::string_view known[] = {"default", "linear",   "dynamic",     "yarn",
                                        "llama3",  "longrope", "proportional"};
  if (std::find(std::begin(known), std::end(known), rope.type) == std::end(known)) {
    fail("{}: {}: type '{}' is not supported (known: linear, dynamic, yarn, llama3, longrope, proportional)",
         path, key, printable(rope.type));
  }
  rope.factor = fields.positive("factor").value_or(1);
  rope.low_freq_factor = fields.positive("low_freq_factor").value_or(1);
  rope.high_freq_factor = fields.positive("high_freq_factor").value_or(4);
  rope.beta_fast = fields.positive("beta_fast");
  rope.beta_slow = fields.positive("beta_slow");
  rope.attention_factor = fields.positive("attention_factor");
  rope.log_multiplier = stated_number(scaling, "mscale_all_dim", path);
  const double mscale = stated_number(scaling, "mscale", path).value_or(0),
               mscale_all_dim = rope.log_multiplier.value_or(0);
  if (rope.type == "yarn" && !rope.attention_factor && mscale > 0 && mscale_all_dim > 0) {
    const auto stretched = [&](double m) {
      return rope.factor > 1 ? 0.1 * m * elementary::log(rope.factor) + 1 : 1;
    };
    rope.attention_factor = stretched(mscale) / stretched(mscale_all_dim);
  }
  rope.short_factor = fields.positives("short_factor");
  rope.long_factor = fields.positives("long_factor");
  if ((rope.type == "linear" || rope.type == "yarn" || rope.type == "llama3") &&
      !json_field(scaling, "factor"))
    fail("{}: {}: factor: missing, type is '{}'", path, key, rope.type);
  if (rope.type == "llama3" && rope.high_freq_factor <= rope.low_freq_factor) {
    fail("{}: {}: high_freq_factor {} is not above low_freq_factor {}", path, key, rope.high_freq_factor,
         rope.low_freq_factor);
  }
  return rope;
}

// Of layers with a window, which are not scaled.
std::optional<double> read_local_theta(const json& local, const std::string& path, const std::string& key) {
  const HfRope rope = read_scaling(local, path, key);
  if (rope.type != "default") {
    fail("{}: {}: type '{}' is not supported: GGUF has scaling for layers without a window only", path, key,
         rope.type);
  }
  if (const auto part = stated_number(local, "partial_rotary_factor", path); part && *part != 1)
    fail("{}: {}: partial_rotary_factor: {} is not supported: whole heads are turned there", path, key,
         *part);
  return Fields{local, path}.positive("rope_theta");
}

HfRope read_rope(const json& root, const std::string& path, const HfDefaults& defaults) {
  constexpr const char *kTheta = "rope_theta", *kContext = "original_max_position_embeddings",
                       *kPart = "partial_rotary_factor", *kLocal = "rope_local_base_freq";
  const Fields top{root, path};
  std::optional<double> theta = top.positive(kTheta), part = top.positive(kPart),
                        local_theta = top.positive(kLocal);
  std::optional<int64_t> n_ctx_orig = top.size(kContext);
  const json *parameters = json_field(root, "rope_parameters"), *scaling = json_field(root, "rope_scaling");
  if (const json* full = parameters ? json_field(*parameters, "full_attention") : nullptr) {
    const std::string key = "rope_parameters.sliding_attention";
    if (const json* local = json_field(*parameters, "sliding_attention"))
      agree(path, local_theta, kLocal, read_local_theta(*local, path, key), key + ".rope_theta");
    parameters = full;
  }
  std::optional<HfRope> read;
  for (const auto& [name, object] :
       {std::pair("rope_parameters", parameters), std::pair("rope_scaling", scaling)}) {
    if (!object) continue;
    const HfRope rope = read_scaling(*object, path, name);
    if (read && *read != rope) {
      fail(
          "{}: rope_scaling: {}, but rope_parameters is {}: nothing tells which one the model was trained "
          "with; remove the wrong one",
          path, printable(scaling->dump()), printable(parameters->dump()));
    }
    read = rope;
    const auto within = [&name = name](const char* key) { return fmt::format("{}.{}", name, key); };
    agree(path, theta, kTheta, Fields{*object, path}.positive(kTheta), within(kTheta));
    agree(path, part, kPart, Fields{*object, path}.positive(kPart), within(kPart));
    agree(path, n_ctx_orig, kContext, Fields{*object, path}.size(kContext), within(kContext));
  }
  HfRope rope = read.value_or(HfRope());
  rope.is_stated = read.has_value();
  rope.theta = theta.value_or(defaults.rope_theta);
  rope.local_theta = local_theta ? local_theta : defaults.local_theta;
  rope.n_ctx_orig = n_ctx_orig;
  rope.rotary_part = part;
  return rope;
}

void read_quantization(const json& root, HfConfig& config) {
  if (const json* mlx = json_field(root, "quantization"); mlx && json_integer(*mlx, "bits")) {
    config.unreadable_quantization = "mlx";
    return;
  }
  const json* quantization = json_field(root, "quantization_config");
  if (!quantization) return;
  const bool is_bitsandbytes = json_bool(*quantization, "load_in_8bit").value_or(false) ||
                               json_bool(*quantization, "load_in_4bit").value_or(false);
  std::string method = json_text(*quantization, "quant_method").value_or("");
  if (method.empty() && is_bitsandbytes) method = "bitsandbytes";  // as its first versions wrote it
  if (method.empty()) {
    config.notes.emplace_back(
        "quantization_config: names no quant_method; whether weights are quantized, their names and types "
        "tell");
    return;
  }
  if (method == "mxfp4" && config.reads_mxfp4()) return;
  if (method != "fp8" && method != "fbgemm_fp8" && method != "compressed-tensors") {
    config.unreadable_quantization = method;
    return;
  }
  const json* block = json_field(*quantization, "weight_block_size");
  if (!block) return;
  for (size_t i = 0; i < 2; ++i) {
    constexpr uint64_t kMost = uint64_t{1} << 31;
    if (!block->is_array() || block->size() != 2 || !(*block)[i].is_number_unsigned() || (*block)[i] == 0 ||
        (*block)[i].get<uint64_t>() > kMost) {
      fail("{}: weight_block_size: expected two numbers", config.path);
    }
    config.fp8_block[i] = (*block)[i].get<int64_t>();
  }
}

// Which layers have attention, where layer_types says so of a family that does not have it everywhere.
void read_layer_types(const json& root, HfConfig& config) {
  const json* types = stated_list(root, "layer_types", config.path);
  if (config.architecture->hf->recurrent.empty() || !types) return;
  if (int64_t(types->size()) != config.n_layer)
    fail("{}: layer_types: {} for {} layers", config.path, types->size(), config.n_layer);
  for (const json& type : *types)
    config.attends.push_back(type != config.architecture->hf->computed.recurrent);
}

// Where the class has experts.
void read_experts(const Fields& fields, HfConfig& config) {
  if (!config.hf_class->has_experts) return;
  constexpr const char* kNames[] = {"num_experts", "num_local_experts", "n_routed_experts"};
  for (const char* name : kNames) {
    const bool is_none = config.hf_class->may_lack_experts && json_integer(fields.object, name) == 0;
    if (config.n_expert == 0 && !is_none) config.n_expert = fields.size(name).value_or(0);
  }
  constexpr int64_t kMost = 4096;
  if (config.n_expert == 0 && config.hf_class->may_lack_experts) return;
  if (config.n_expert == 0) fail("{}: {}: missing", fields.path, fmt::join(kNames, ", "));
  if (config.n_expert > kMost) fail("{}: {} experts make no sense", fields.path, config.n_expert);
  config.n_expert_used = fields.required_size("num_experts_per_tok");
  if (config.n_expert_used > config.n_expert) {
    fail("{}: num_experts_per_tok: {} of {} experts make no sense", fields.path, config.n_expert_used,
         config.n_expert);
  }
  config.n_expert_ff = fields.size("moe_intermediate_size").value_or(config.n_ff);
  const HfFamily& family = *config.architecture->hf;
  for (const HfCount& row : family.counts) {  // which are numbers that make sense
    const int64_t n = json_integer(fields.object, row.hf).value_or(0);
    if (row.gguf == "expert_shared_feed_forward_length") config.n_shared_ff = n;
    if (row.gguf == "expert_shared_count") config.n_shared_ff = std::min(n, kMost) * config.n_expert_ff;
    if (row.gguf == "leading_dense_block_count") config.n_dense = n;
  }
  if (family.ahead.empty()) return;
  config.n_ahead = stated_integer(fields.object, "num_nextn_predict_layers", fields.path).value_or(0);
  if (config.n_ahead < 0 || config.n_ahead > kMost)
    fail("{}: num_nextn_predict_layers: {} makes no sense", fields.path, config.n_ahead);
}

}  // namespace

HfConfig parse_hf_config(std::string_view text, const std::string& path) {
  json root = parse_json_object(text, path);
  HfConfig config;
  config.path = path;
  find_class(root, path, config);
  // The language model of one that also sees.
  if (const json* inner = json_field(root, "text_config"); inner && inner->is_object()) {
    const json copy = *inner;
    config.is_part = true;
    root.update(copy);
  }
  const Fields fields{root, path};
  const HfFamily& family = *config.architecture->hf;
  const HfDefaults& defaults = family.defaults;
  if (!family.recurrent.empty()) rename_layer_types(root);
  read_mlp_layer_types(config, root);
  add_defaults(config.hf_class->absent, root);
  add_defaults(family.absent, root);
  read_numbers(root, "", config);
  for (const HfNumber& row : family.numbers) {
    const json* field = json_field(root, row.hf);
    if (field && !field->is_number())
      fail("{}: {}: {} makes no sense", path, row.hf, printable(field->dump()));
    if (!field && row.otherwise && root.contains(row.hf))
      fail("{}: {}: null makes no sense", path, row.hf);  // and is no lack
  }
  for (const HfCount& row : family.counts) {
    const json* field = json_field(root, row.hf);
    const auto value = json_integer(root, row.hf);
    if (field && (!value || *value < 0 || *value > INT32_MAX))
      fail("{}: {}: {} makes no sense", path, row.hf, printable(field->dump()));
  }
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (const json* object = json_field(root, key); object && object->is_object())
      read_numbers(*object, "rope.", config);
  }
  // Where layers have types, their number may be left to these.
  const json* types = stated_list(root, "layers_block_type", path);
  config.n_layer = fields.required_size(family.sizes.n_layer, types ? int64_t(types->size()) : 0);
  constexpr int64_t kMostLayers = 1 << 16;  // lists are made of so many
  if (config.n_layer > kMostLayers)
    fail("{}: {}: {} layers make no sense", path, family.sizes.n_layer, config.n_layer);
  config.n_embd = fields.required_size(family.sizes.n_embd);
  config.n_ff = fields.size(family.sizes.n_ff).value_or(0);
  config.n_vocab = fields.required_size("vocab_size", defaults.n_vocab);
  config.n_ctx = fields.size(family.sizes.n_ctx).value_or(defaults.n_ctx);
  if (const json* kinds = stated_list(root, "layer_types", path)) {
    for (const json& type : *kinds)
      config.layer_types.push_back(type.is_string() ? type.get<std::string>() : "?");
  }
  std::optional<int64_t> head_dim;
  if (family.has_attention) {
    config.n_head = fields.required_size(family.sizes.n_head, defaults.n_head);
    config.n_head_kv = fields.size("num_key_value_heads")
                           .value_or(defaults.n_head_kv > 0 ? defaults.n_head_kv : config.n_head);
    head_dim = fields.size("head_dim");
    if (!head_dim && family.head_dim > 0) head_dim = family.head_dim;
    config.states_head_dim = head_dim.has_value();
    config.head_dim = head_dim.value_or(config.n_embd / config.n_head);
  }
  read_experts(fields, config);
  read_layer_types(root, config);
  config.norm_eps = fields.positive(family.norm_eps).value_or(defaults.norm_eps);
  config.rope = read_rope(root, path, defaults);
  config.rotary_part = config.rope.rotary_part.value_or(defaults.rotary_part);
  if (family.read) family.read(config);
  for (const auto& [key, value] :
       {std::pair(family.sizes.n_ff, config.n_ff), std::pair(family.sizes.n_ctx, config.n_ctx)}) {
    const bool is_ff = key == family.sizes.n_ff;
    const bool may_be_absent =
        is_ff && (!family.has_attention ||
                  (config.n_expert > 0 && config.architecture->layers_differ && family.dense.empty()));
    if (value < 1 && !may_be_absent) fail("{}: {}: missing", path, key);
  }
  if (!family.has_attention) {
  } else if (config.n_head_kv < 1 || config.n_head % config.n_head_kv != 0) {
    fail("{}: num_attention_heads: {} is not divided by {} key/value heads", path, config.n_head,
         config.n_head_kv);
  }
  if (family.has_attention && !head_dim && config.n_embd % config.n_head != 0) {
    fail("{}: hidden_size: {} is not divided by {} heads", path, config.n_embd, config.n_head);
  }
  constexpr int64_t kMostInHead = 1 << 16;  // rotary tables are as long, and heads' rows stay within 64 bits
  if (config.head_dim > kMostInHead) fail("{}: head_dim: {} makes no sense", path, config.head_dim);
  if (config.head_dim % 2 != 0) fail("{}: head_dim: {} is odd", path, config.head_dim);
  if (!(config.rotary_part > 0) || config.rotary_part > 1)
    fail("{}: partial_rotary_factor: {} makes no sense", path, config.rotary_part);
  config.tied = stated_switch(root, "tie_word_embeddings", path);
  if (json_integer(root, "sliding_window") != 0) config.sliding_window = fields.size("sliding_window");
  if (!config.sliding_window && defaults.sliding_window) {
    // Its layers slide; null and 0 do not say how far.
    if (root.contains("sliding_window"))
      fail("{}: sliding_window: {} makes no sense", path, root["sliding_window"].dump());
    config.sliding_window = defaults.sliding_window;
  }
  config.attn_softcap = fields.positive("attn_logit_softcapping");
  config.final_softcap = fields.positive("final_logit_softcapping");
  config.bos = fields.token("bos_token_id", config.notes);
  config.eos = fields.token("eos_token_id", config.notes);
  config.pad = fields.token("pad_token_id", config.notes);
  config.attention_bias = stated_switch(root, "attention_bias", path);
  config.mlp_bias = stated_switch(root, "mlp_bias", path);
  read_quantization(root, config);
  std::ranges::move(check_unheld(root, config), std::back_inserter(config.notes));
  return config;
}

void check_weights_are_readable(const HfConfig& config) {
  if (config.unreadable_quantization.empty()) return;
  fail(
      "{}: quantization_config: weights quantized by {} cannot be converted; take the model as it was "
      "before",
      config.path, printable(quantization_method(config.unreadable_quantization)));
}

HfConfig read_hf_config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  if (!is_directory(folder)) fail("{}: not a folder; expected a Hugging Face model's", folder);
  if (!file_exists(path) && file_exists(folder + "/adapter_config.json")) {
    fail("{}: holds a LoRA, not a model; that is for lora convert-lora, or for --lora as it is", folder);
  }
  const MappedFile file(path);
  return parse_hf_config(file.text(), path);
}

}  // namespace lora
