#include "arch/config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <type_traits>

#include "base/elementary.h"
#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

const Architecture* architecture_of(const Gguf& gguf) {
  const std::string type = gguf.get_string("general.type").value_or("model");
  if (type != "model") {
    fail("{}: general.type is '{}', expected 'model'{}", gguf.path(), printable(type),
         type == "adapter"      ? ": it is a LoRA, which --lora takes"
         : type == "checkpoint" ? ": it is a run's state, which finetune --checkpoint-in takes"
                                : "");
  }
  const auto name = gguf.get_string("general.architecture");
  if (!name) fail("{}: general.architecture: missing", gguf.path());
  std::set<std::string_view> known;
  for (const Architecture* row : architectures()) {
    if (row->name == *name) return row;
    known.insert(row->name);
  }
  if (const NotComputed* row = find_not_computed(*name))
    fail("{}: architecture '{}' is not supported: {}", gguf.path(), *name, row->why);
  fail("{}: architecture '{}' is not supported (known: {})", gguf.path(), printable(*name, 60),
       fmt::join(known, ", "));
}

std::string rope_scaling_type(const Keys& keys) {
  return keys.gguf.get_string(keys.key("rope.scaling.type")).value_or("linear");
}

std::vector<float> rope_factors(const Gguf& gguf, const std::string& name, int64_t n_rot) {
  const GgufTensor* tensor = gguf.find_tensor(name);
  if (!tensor) return {};
  if (tensor->type != Type::F32 || tensor->n_elements() != n_rot / 2) {
    fail("{}: tensor {}: expected {} F32 values, found {} of type {}", gguf.path(), name, n_rot / 2,
         tensor->shape(), traits(tensor->type).name);
  }
  std::vector<float> factors(size_t(n_rot / 2));
  std::memcpy(factors.data(), tensor->data.data(), tensor->data.size());
  for (const float factor : factors) {
    if (!(factor > 0)) fail("{}: tensor {}: {} makes no sense", gguf.path(), name, factor);
  }
  return factors;
}

RopeParameters read_rope(const Keys& keys, const ModelConfig& config, const ConfigOverrides& overrides) {
  RopeParameters rope;
  rope.n_rot = keys.size("rope.dimension_count").value_or(config.head_dim);
  rope.freq_base = keys.positive_or("rope.freq_base", 10000);
  const std::string type = rope_scaling_type(keys);
  if (type != "none" && type != "linear" && type != "yarn" && type != "longrope") {
    fail("{}: {}: '{}' is not supported (known: none, linear, yarn, longrope)", keys.gguf.path(),
         keys.key("rope.scaling.type"), type);
  }
  rope.freq_scale = read_rope_freq_scale(keys.gguf, keys.prefix);
  rope.yarn = type == "yarn";
  rope.yarn_attn_factor = keys.positive_or("rope.scaling.attn_factor", 1);
  rope.yarn_ext_factor = keys.number_or("rope.scaling.yarn_ext_factor", 1);
  rope.yarn_beta_fast = keys.positive_or("rope.scaling.yarn_beta_fast", 32);
  rope.yarn_beta_slow = keys.positive_or("rope.scaling.yarn_beta_slow", 1);
  rope.yarn_truncate = keys.gguf.get_bool(keys.key("rope.scaling.yarn_truncate")).value_or(true);
  rope.yarn_log_multiplier = keys.number_or("rope.scaling.yarn_log_multiplier", 0);
  rope.n_ctx_orig = keys.size("rope.scaling.original_context_length").value_or(config.n_ctx_train);
  if (overrides.rope_freq_base) rope.freq_base = *overrides.rope_freq_base;
  if (overrides.rope_freq_scale) rope.freq_scale = *overrides.rope_freq_scale;
  rope.freq_factors = rope_factors(keys.gguf, "rope_freqs.weight", rope.n_rot);
  if (rope.freq_factors.empty()) {
    rope.freq_factors = rope_factors(keys.gguf, "rope_factors_short.weight", rope.n_rot);
    rope.long_freq_factors = rope_factors(keys.gguf, "rope_factors_long.weight", rope.n_rot);
    if (rope.freq_factors.empty() != rope.long_freq_factors.empty()) {
      fail("{}: tensor rope_factors_{}.weight: missing beside the other", keys.gguf.path(),
           rope.freq_factors.empty() ? "short" : "long");
    }
  }
  if (rope.n_rot % 2 != 0 || rope.n_rot > config.head_dim) {
    fail("{}: {}: {} does not fit heads of {}", keys.gguf.path(), keys.key("rope.dimension_count"),
         rope.n_rot, config.head_dim);
  }
  return rope;
}

std::optional<double> number_of(const GgufValue& value) {
  return std::visit(
      [](const auto& v) -> std::optional<double> {
        if constexpr (std::is_arithmetic_v<std::decay_t<decltype(v)>>) return double(v);
        return std::nullopt;
      },
      value.value);
}

constexpr std::array<std::string_view, 3> kLayerSizes = {"feed_forward_length", "attention.head_count",
                                                         "attention.head_count_kv"};

// Heads and MLPs of layers that differ; none of any kind is none in all layers.
void read_layer_sizes(const Keys& keys, ModelConfig& config) {
  const auto read = [&](std::string_view name, std::vector<int64_t>& of_layers) {
    of_layers = keys.sizes_of_layers(name, config.n_layer);
    return of_layers.empty() ? 0 : std::ranges::max(of_layers);
  };
  config.n_ff = read(kLayerSizes[0], config.n_ff_of);
  config.n_head = read(kLayerSizes[1], config.n_head_of);
  config.n_head_kv = read(kLayerSizes[2], config.n_head_kv_of);
  if (config.n_head_kv_of.empty()) config.n_head_kv = config.n_head, config.n_head_kv_of = config.n_head_of;
}

// For errors about tensors that a block has, or lacks, against what its file says of it.
void note_kind_keys(const Keys& keys, ModelConfig& config) {
  const auto add = [&](std::string_view name) {
    if (keys.asked_for.contains(name) && keys.gguf.find(keys.key(name)))
      config.kind_keys.push_back(keys.key(name));
  };
  // The list wins.
  const bool has_list = keys.gguf.find(keys.key("attention.recurrent_layers")) != nullptr;
  add(has_list ? "attention.recurrent_layers" : "full_attention_interval");
  for (const char* name : {"leading_dense_block_count", "interleave_moe_layer_step", "nextn_predict_layers"})
    add(name);
  if (config.experts.router.n_expert == 0) add("expert_count");
  for (const std::string_view name : kLayerSizes) {
    const GgufValue* sizes = keys.gguf.find(keys.key(name));
    if (config.architecture->layers_differ && sizes && sizes->type == GgufValueType::array) add(name);
  }
}

// Keys that change what a model computes, where its family has them. One that the file has and nothing has
// read is refused, unless its value is the one that changes nothing.
void look_at_the_rest(const Keys& keys, ModelConfig& config) {
  const double yarn = config.rope.yarn ? 1 + 0.1 * elementary::log(1 / config.rope.freq_scale) : 1;
  const std::pair<std::string_view, double> known[] = {
      {"attention.clamp_kqv", 0},
      {"attention.max_alibi_bias", 0},
      {"attention.causal", 1},
      {"attention.scale", 1 / std::sqrt(double(config.head_dim))},
      {"attention.temperature_scale", 0},
      {"attn_logit_softcapping", 0},
      {"final_logit_softcapping", 0},
      {"embedding_scale", 1},
      {"residual_scale", 1},
      {"logit_scale", 1},
      {"use_parallel_residual", 0},
      {"rope.dimension_sections", 0},
      {"rope.scaling.yarn_attn_factor", yarn},
  };
  for (const auto& [name, neutral] : known) {
    if (keys.asked_for.contains(name)) continue;
    const GgufValue* found = keys.gguf.find(keys.key(name));
    const auto number = found ? number_of(*found) : std::nullopt;
    if (!found || (number && std::fabs(*number - neutral) <= 1e-4 * std::fabs(neutral))) continue;
    fail("{}: {}: {} is not supported for architecture {}", keys.gguf.path(), keys.key(name),
         number ? fmt::format("{:g}", *number) : "what it says", config.architecture->name);
  }
  const auto window = keys.asked_for.contains("attention.sliding_window")
                          ? std::nullopt
                          : keys.gguf.get_int(keys.key("attention.sliding_window"));
  if (window && *window > 0 && *window < config.n_ctx_train) {
    config.notes.push_back(
        fmt::format("{}: {} is not applied: attention sees the whole context, as in llama.cpp",
                    keys.key("attention.sliding_window"), *window));
  }
}

}  // namespace

double read_rope_freq_scale(const Gguf& gguf, const std::string& prefix) {
  const Keys keys{gguf, prefix};
  const double factor = keys.number_or("rope.scaling.factor", keys.number_or("rope.scale_linear", 0));
  if (factor < 0) fail("{}: {}: {} makes no sense", gguf.path(), keys.key("rope.scaling.factor"), factor);
  return rope_scaling_type(keys) != "none" && factor != 0 ? 1 / factor : 1;
}

void read_window(const Keys& keys, ModelConfig& config, int64_t period, int64_t standard) {
  const auto window = keys.gguf.get_int(keys.key("attention.sliding_window")).value_or(standard);
  if (window < 0 || window > (int64_t{1} << 31)) keys.makes_no_sense("attention.sliding_window", window);
  if (window == 0) return;
  constexpr std::string_view kPattern = "attention.sliding_window_pattern";
  const GgufValue* pattern = keys.gguf.find(keys.key(kPattern));
  const bool is_list = pattern && pattern->type == GgufValueType::array;
  if (pattern && !is_list) period = keys.size(kPattern).value();
  config.window = window;
  if (keys.number("rope.freq_base_swa")) {
    config.rope_swa = config.rope;
    config.rope_swa->freq_base = keys.positive_or("rope.freq_base_swa", 0);
  }
  for (int64_t i = 0; i < config.n_layer; ++i)
    config.windowed.push_back(period == 0 || i % period != period - 1);
  if (is_list) config.windowed = keys.flags_of_layers(kPattern, config.n_layer);
}

void read_experts(const Keys& keys, ModelConfig& config, Gating gating, bool normalize, Mixture mixture) {
  constexpr int64_t kMost = 4096;  // what a file says is allocated
  RouterForm& r = config.experts.router;
  r.n_expert = keys.gguf.get_int(keys.key("expert_count")).value_or(0);
  if (r.n_expert == 0 && mixture == Mixture::where_the_file_has_one) return;
  if (r.n_expert == 0) fail("{}: {}: missing", keys.gguf.path(), keys.key("expert_count"));
  if (r.n_expert < 0 || r.n_expert > kMost) keys.makes_no_sense("expert_count", r.n_expert);
  r.n_used = keys.required_size("expert_used_count");
  r.n_group = keys.size("expert_group_count").value_or(1);
  r.n_group_used = keys.size("expert_group_used_count").value_or(r.n_group);
  if (r.n_expert % r.n_group != 0) keys.makes_no_sense("expert_group_count", r.n_group);
  if (r.n_group_used > r.n_group) keys.makes_no_sense("expert_group_used_count", r.n_group_used);
  if (r.n_used > r.n_expert / r.n_group * r.n_group_used) keys.makes_no_sense("expert_used_count", r.n_used);
  r.gating = gating;
  const int64_t function = keys.gguf.get_int(keys.key("expert_gating_func")).value_or(0);
  constexpr int64_t kSigmoid = 2, kSoftmaxOfChosen = 3;  // 1: softmax
  if (function < 0 || function > kSoftmaxOfChosen) keys.makes_no_sense("expert_gating_func", function);
  if (function != 0) r.gating = function == kSigmoid ? Gating::sigmoid : Gating::softmax;
  r.normalize =
      keys.gguf.get_bool(keys.key("expert_weights_norm")).value_or(normalize || function == kSoftmaxOfChosen);
  r.scale = float(keys.positive_or("expert_weights_scale", 1));
  config.experts.n_ff = keys.size("expert_feed_forward_length").value_or(config.n_ff);
  config.experts.n_ff_shared =
      keys.size("expert_shared_feed_forward_length")
          .value_or(keys.gguf.get_int(keys.key("expert_shared_count")).value_or(0) * config.experts.n_ff);
  config.experts.n_layer_dense = keys.gguf.get_int(keys.key("leading_dense_block_count")).value_or(0);
}

void read_mamba2(const Keys& keys, ModelConfig& config) {
  SsmConfig& ssm = config.ssm;
  const auto size = [&](std::string_view name, std::optional<int64_t> otherwise = {}) {
    const int64_t n = otherwise ? keys.size(name).value_or(*otherwise) : keys.required_size(name);
    if (n > int64_t{1} << 20) keys.makes_no_sense(name, n);  // products of two stay small
    return n;
  };
  ssm.d_conv = size("ssm.conv_kernel");
  ssm.n_inner = size("ssm.inner_size");
  ssm.n_state = size("ssm.state_size");
  ssm.n_head = size("ssm.time_step_rank");
  ssm.n_group = size("ssm.group_count", 1);
  if (ssm.d_conv > kMaxConv) keys.makes_no_sense("ssm.conv_kernel", ssm.d_conv);
  if (ssm.n_inner % ssm.n_head != 0) keys.makes_no_sense("ssm.time_step_rank", ssm.n_head);
  if (ssm.n_head % ssm.n_group != 0) keys.makes_no_sense("ssm.group_count", ssm.n_group);
}

bool has_choice_bias(const Keys& keys, const ModelConfig& config) {
  const std::string name = fmt::format("blk.{}.exp_probs_b.bias", config.n_layer - 1);
  return keys.gguf.find_tensor(name) != nullptr;
}

void skip_last_layers(const Keys& keys, ModelConfig& config) {
  const std::string_view name = "nextn_predict_layers";
  const int64_t n = keys.gguf.get_int(keys.key(name)).value_or(0);
  if (n == 0) return;
  if (n < 0 || n >= config.n_layer) keys.makes_no_sense(name, n);
  // What tells such a block from others. Files from which they were taken out have nothing of them.
  for (const GgufTensor& tensor : keys.gguf.tensors()) {
    const auto i = block_of(tensor.name);
    if (!i || *i < config.n_layer - n || *i >= config.n_layer) continue;
    const std::string marker = fmt::format("blk.{}.nextn.eh_proj.weight", *i);
    if (!keys.gguf.find_tensor(marker)) {
      fail("{}: {}: {}, but block {} is one as others are, without {}", keys.gguf.path(), keys.key(name), n,
           *i, marker);
    }
  }
  config.n_layer -= n;
  config.n_layer_skipped = n;
  config.notes.push_back(fmt::format("{}: {}: the last {} not computed with, as in llama.cpp", keys.key(name),
                                     n, n == 1 ? "block is" : "blocks are"));
}

bool has_rope(const Gguf& gguf) {
  const Architecture& row = *architecture_of(gguf);
  if (row.has_rope != HasRope::as_said) return row.has_rope == HasRope::yes;
  return gguf.get_bool(fmt::format("{}.rope.scaling.finetuned", row.name)).value_or(true);
}

std::vector<std::string> without_effect(const ConfigOverrides& overrides) {
  std::vector<std::string> lines;
  for (const auto& [flag, value] : {std::pair("--rope-freq-base", overrides.rope_freq_base),
                                    {"--rope-freq-scale", overrides.rope_freq_scale}}) {
    if (value) lines.push_back(fmt::format("{}: has no effect, this model turns no heads by position", flag));
  }
  return lines;
}

std::string_view norm_eps_key(const Architecture& architecture) {
  return architecture.norm == NormKind::layer ? "attention.layer_norm_epsilon"
                                              : "attention.layer_norm_rms_epsilon";
}

ModelConfig read_config(const Gguf& gguf, const ConfigOverrides& overrides) {
  const Keys keys{gguf, std::string(architecture_of(gguf)->name)};
  const int64_t n_vocab = gguf.tensor("token_embd.weight").ne[1];
  // What is allocated for each layer must not be more than the file speaks of.
  if (const int64_t n = keys.required_size("block_count"); n > int64_t(gguf.tensors().size())) {
    fail("{}: {}: {} layers, but {} tensors", gguf.path(), keys.key("block_count"), n, gguf.tensors().size());
  }
  return config_of_keys(gguf, n_vocab, overrides);
}

ModelConfig config_of_keys(const Gguf& gguf, int64_t n_vocab, const ConfigOverrides& overrides) {
  ModelConfig config;
  config.architecture = architecture_of(gguf);
  const Keys keys{gguf, std::string(config.architecture->name)};
  config.n_vocab = n_vocab;
  config.n_layer = keys.required_size("block_count");
  config.n_embd = keys.required_size("embedding_length");
  if (config.architecture->layers_differ) {
    read_layer_sizes(keys, config);
  } else {
    config.n_ff = keys.required_size("feed_forward_length");
    config.n_head = keys.required_size("attention.head_count");
    config.n_head_kv = keys.size("attention.head_count_kv").value_or(config.n_head);
  }
  config.n_ctx_train = keys.required_size("context_length");
  for (int64_t i = 0; i < config.n_layer; ++i) {
    const int64_t n_head = config.heads(i), n_head_kv = config.heads_kv(i);
    if (n_head_kv > 0 && (n_head == 0 || n_head % n_head_kv != 0)) {
      fail("{}: {}: {} is not divided by {} key/value heads", gguf.path(), keys.key("attention.head_count"),
           n_head, n_head_kv);
    }
  }
  const auto key_length = keys.size("attention.key_length");
  if (!key_length && config.n_head > 0 && config.n_embd % config.n_head != 0) {
    fail("{}: {}: {} is not divided by {} heads", gguf.path(), keys.key("embedding_length"), config.n_embd,
         config.n_head);
  }
  config.head_dim = key_length.value_or(config.n_head > 0 ? config.n_embd / config.n_head : 0);
  if (const auto value_length = keys.size("attention.value_length").value_or(config.head_dim);
      value_length != config.head_dim && !config.architecture->own_value_length) {
    fail("{}: {}: {} differs from the key length {}, which is not supported", gguf.path(),
         keys.key("attention.value_length"), value_length, config.head_dim);
  }
  // Nothing stands in for it, as in llama.cpp: models have been trained with 1e-5, with 1e-6 and with others.
  const std::string_view eps = norm_eps_key(*config.architecture);
  if (!overrides.norm_eps && !keys.number(eps)) fail("{}: {}: missing", gguf.path(), keys.key(eps));
  config.norm_eps = float(keys.positive_or(eps, 1e-5));
  if (overrides.norm_eps) config.norm_eps = float(*overrides.norm_eps);
  constexpr int64_t kWidest = int64_t{1} << 31;  // so that what is made of it stays within 64 bits
  if (config.head_dim > kWidest / std::max<int64_t>(1, config.n_head)) {
    fail("{}: {}: {} heads of {} make no sense", gguf.path(), keys.key("attention.head_count"), config.n_head,
         config.head_dim);
  }
  if (config.head_dim > 0) config.attention_scale = float(1 / std::sqrt(double(config.head_dim)));
  config.fused_qkv = gguf.find_tensor("blk.0.attn_qkv.weight") != nullptr;
  config.has_rope = has_rope(gguf);
  config.rope = read_rope(keys, config, overrides);
  if (config.architecture->read) config.architecture->read(keys, config);
  if (const int64_t n = gguf.get_int(keys.prefix + ".expert_count").value_or(0);
      n != 0 && config.experts.router.n_expert == 0) {
    fail("{}: {}: {} experts are not supported for architecture {}", gguf.path(), keys.key("expert_count"), n,
         config.architecture->name);
  }
  note_kind_keys(keys, config);
  look_at_the_rest(keys, config);
  if (!config.has_rope) std::ranges::move(without_effect(overrides), std::back_inserter(config.notes));
  return config;
}

}  // namespace lora
