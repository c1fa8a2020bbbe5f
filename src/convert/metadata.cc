#include "convert/metadata.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "arch/config.h"
#include "base/elementary.h"
#include "base/error.h"

namespace lora {
namespace {

// llama3: long waves are stretched by `factor`, short ones stay, those between are interpolated. In f32, as
// the class computes them and llama.cpp's converter after it, so that equal models are equal files.
std::vector<float> llama3_factors(const HfRope& rope, int64_t n_rot, int64_t n_ctx_orig) {
  const auto low = float(rope.low_freq_factor), high = float(rope.high_freq_factor);
  const float longest = float(n_ctx_orig) / low, shortest = float(n_ctx_orig) / high;
  std::vector<float> factors;
  for (int64_t i = 0; i < n_rot; i += 2) {
    const float frequency = 1 / float(elementary::pow(float(rope.theta), float(i) / float(n_rot)));
    const float wave = float(2 * std::numbers::pi) / frequency;
    float factor = 1;
    if (wave > longest) {
      factor = float(rope.factor);
    } else if (wave >= shortest) {
      const float smooth = (float(n_ctx_orig) / wave - low) / (high - low);
      factor = 1 / ((1 - smooth) / float(rope.factor) + smooth);
    }
    factors.push_back(factor);
  }
  return factors;
}

void set_scaling_keys(GgufWriter& writer, const HfConfig& config, const std::string& prefix) {
  const HfRope& rope = config.rope;
  const std::string scaling = prefix + "rope.scaling.";
  if (rope.type == "linear") {
    writer.set_string(scaling + "type", "linear");
    writer.set_f32(scaling + "factor", float(rope.factor));
  } else if (rope.type == "yarn") {
    writer.set_string(scaling + "type", "yarn");
    writer.set_f32(scaling + "factor", float(rope.factor));
    writer.set_u32(scaling + "original_context_length", uint32_t(rope.n_ctx_orig.value_or(config.n_ctx)));
    if (const auto truncate = config.number("rope.truncate"))
      writer.set_bool(scaling + "yarn_truncate", *truncate != 0);
    if (rope.beta_fast) writer.set_f32(scaling + "yarn_beta_fast", float(*rope.beta_fast));
    if (rope.beta_slow) writer.set_f32(scaling + "yarn_beta_slow", float(*rope.beta_slow));
    // Programs multiply by 0.1 ln(factor) + 1 unasked, and divide by the same of the multiplier, where there
    // is one; the key says what comes on top.
    const bool divides = config.architecture->hf->writes_log_multiplier && rope.log_multiplier;
    const auto magnitude = [&](double m) { return 0.1 * m * elementary::log(rope.factor) + 1; };
    const double standard = magnitude(1) / (divides ? magnitude(*rope.log_multiplier) : 1);
    if (divides) writer.set_f32(scaling + "yarn_log_multiplier", float(*rope.log_multiplier));
    if (rope.attention_factor && std::fabs(*rope.attention_factor - standard) > 1e-4) {
      writer.set_f32(scaling + "attn_factor", float(*rope.attention_factor / standard));
    }
  }
}

// Of architectures some layers of which have a window.
void set_window_keys(GgufWriter& writer, const HfConfig& config, const std::string& prefix) {
  if (config.sliding_window)
    writer.set_u32(prefix + "attention.sliding_window", uint32_t(*config.sliding_window));
  if (config.sliding_window && config.architecture->hf->writes_pattern) {
    std::vector<uint64_t> has_window;
    for (int64_t i = 1; i <= config.n_layer; ++i)
      has_window.push_back(i % config.architecture->hf->computed.window_period != 0);
    writer.set(prefix + "attention.sliding_window_pattern",
               {GgufValueType::array, GgufValueType::boolean, std::move(has_window)});
  }
  if (config.attn_softcap) writer.set_f32(prefix + "attn_logit_softcapping", float(*config.attn_softcap));
  if (config.final_softcap) writer.set_f32(prefix + "final_logit_softcapping", float(*config.final_softcap));
  if (config.rope.local_theta) writer.set_f32(prefix + "rope.freq_base_swa", float(*config.rope.local_theta));
}

// What is in the weights' rows, so that adapters of the class can be read; llama.cpp does not look at it.
void write_factors(GgufWriter& writer, const HfConfig& config, const std::string& prefix) {
  for (const char* key : config.architecture->hf->factor_keys) {
    const std::string name = fmt::format("{}hf.{}", prefix, key);
    if (const auto found = config.number_lists.find(key); found != config.number_lists.end()) {
      const auto is_one = [](double factor) { return factor == 1; };
      if (!std::ranges::all_of(found->second, is_one)) writer.set_f64s(name, found->second);
    } else if (const auto number = config.number(key); number && *number != 1) {
      writer.set_f64(name, *number);
    }
  }
}

}  // namespace

std::string size_label(int64_t n_parameters) {
  double scaled = double(n_parameters) * 1e-3;
  std::string unit = "K";
  if (n_parameters > 1'000'000'000'000) {
    scaled = double(n_parameters) * 1e-12, unit = "T";
  } else if (n_parameters > 1'000'000'000) {
    scaled = double(n_parameters) * 1e-9, unit = "B";
  } else if (n_parameters > 1'000'000) {
    scaled = double(n_parameters) * 1e-6, unit = "M";
  }
  // Two digits at least.
  return std::round(scaled) >= 10 ? fmt::format("{:.0f}{}", scaled, unit)
                                  : fmt::format("{:.1f}{}", scaled, unit);
}

void set_general_keys(GgufWriter& writer, const HfConfig& config, const std::string& name,
                      int64_t n_parameters, uint32_t file_type) {
  writer.set_string("general.architecture", std::string(config.architecture->name));
  writer.set_string("general.type", "model");
  writer.set_string("general.name", name);
  const std::string experts = config.n_expert > 0 ? fmt::format("{}x", config.n_expert) : "";
  if (n_parameters > 0) writer.set_string("general.size_label", experts + size_label(n_parameters));
  writer.set_u32("general.file_type", file_type);
  writer.set_u32("general.quantization_version", 2);
}

void set_architecture_keys(GgufWriter& writer, const HfConfig& config) {
  const std::string prefix = std::string(config.architecture->name) + ".";
  const std::pair<const char*, int64_t> sizes[] = {
      {"block_count", config.n_layer + config.n_ahead},
      {"context_length", config.n_ctx},
      {"embedding_length", config.n_embd},
      {"feed_forward_length", config.n_ff},
      {"attention.head_count", config.n_head},
      {"attention.head_count_kv", config.n_head_kv},
      {"vocab_size", config.n_vocab},
  };
  for (const auto& [key, value] : sizes) {
    const bool is_kv = key == std::string_view("attention.head_count_kv");
    const bool is_absent = config.n_expert > 0 && value == 0;  // a length of dense MLPs that there are not
    if (!is_absent && (!is_kv || config.architecture->hf->has_attention))
      writer.set_u32(prefix + key, uint32_t(value));
  }
  if (config.architecture->hf->writes_kv_by_layer) {
    std::vector<int64_t> n_head_kv;
    for (int64_t i = 0; i < config.n_layer; ++i)
      n_head_kv.push_back(config.has_attention(i) ? config.n_head_kv : 0);
    writer.set(prefix + "attention.head_count_kv",
               {GgufValueType::array, GgufValueType::i32, std::move(n_head_kv)});
  }
  writer.set_f32(prefix + std::string(norm_eps_key(*config.architecture)), float(config.norm_eps));
  if (config.architecture->hf->has_rope) writer.set_f32(prefix + "rope.freq_base", float(config.rope.theta));
  if (config.states_head_dim) {
    writer.set_u32(prefix + "attention.key_length", uint32_t(config.head_dim));
    writer.set_u32(prefix + "attention.value_length", uint32_t(config.head_dim));
  }
  set_scaling_keys(writer, config, prefix);
  const HfFamily& family = *config.architecture->hf;
  if (family.writes_n_rot) writer.set_u32(prefix + "rope.dimension_count", uint32_t(config.n_rot()));
  for (const HfNumber& row : family.numbers) {
    const auto value = config.number(row.hf);
    if (value || row.otherwise)
      writer.set_f32(prefix + std::string(row.gguf), float(value ? *value : *row.otherwise));
  }
  if (config.n_expert > 0) {
    writer.set_u32(prefix + "expert_count", uint32_t(config.n_expert));
    writer.set_u32(prefix + "expert_used_count", uint32_t(config.n_expert_used));
  }
  if (config.n_ahead > 0) writer.set_u32(prefix + "nextn_predict_layers", uint32_t(config.n_ahead));
  for (const HfCount& row : family.counts) {
    const auto value = config.number(row.hf);
    const bool is_none = value == 0.0 && row.gguf.ends_with("_length");
    if (value && !is_none) writer.set_u32(prefix + std::string(row.gguf), uint32_t(*value));
  }
  if (family.write_keys) family.write_keys(writer, config);
  write_factors(writer, config, prefix);
  if (family.computed.window_period > 0) set_window_keys(writer, config, prefix);
}

std::vector<ComputedTensor> rope_tensors(const HfConfig& config) {
  const HfRope& rope = config.rope;
  if (rope.type == "llama3") {
    const int64_t n_ctx_orig = rope.n_ctx_orig.value_or(8192);
    return {{"rope_freqs.weight", llama3_factors(rope, config.n_rot(), n_ctx_orig)}};
  }
  if (rope.type == "proportional") {
    // Pairs are as far apart as in heads that are turned as a whole; the last ones stand still.
    std::vector<float> factors(size_t(config.head_dim / 2), 1e30f);
    std::fill_n(factors.begin(), int64_t(double(config.head_dim) * config.rotary_part / 2), 1.0f);
    return {{"rope_freqs.weight", std::move(factors)}};
  }
  if (rope.type != "longrope") return {};
  std::vector<ComputedTensor> tensors;
  for (const auto& [tensor, key, factors] :
       {std::tuple("rope_factors_long.weight", "long_factor", &rope.long_factor),
        std::tuple("rope_factors_short.weight", "short_factor", &rope.short_factor)}) {
    if (int64_t(factors->size()) != config.n_rot() / 2) {
      fail("{}: rope_scaling: {}: {} numbers for {} pairs", config.path, key, factors->size(),
           config.n_rot() / 2);
    }
    tensors.push_back({tensor, {factors->begin(), factors->end()}});
  }
  return tensors;
}

}  // namespace lora
