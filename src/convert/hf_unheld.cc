#include "convert/hf_unheld.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "convert/json_file.h"

namespace lora {
namespace {

using nlohmann::json;

struct Checker {
  const json& root;
  const HfConfig& config;
  const HfComputed& held;

  [[noreturn]] void refuse(std::string_view key, std::string_view value, std::string_view why) const {
    fail("{}: {}: {}: GGUF's {} {}", config.path, key, printable(value), config.architecture->name, why);
  }

  void check_activation() const {
    const auto name = stated_text(root, held.activation_key, config.path);
    if (!name || *name == held.activation || (held.activation == "silu" && *name == "swish")) return;
    if (held.activation == "gelu_pytorch_tanh" && (*name == "gelu_new" || *name == "gelu_fast")) return;
    refuse(held.activation_key, *name, fmt::format("computes {}", held.activation));
  }

  void check_rope() const {
    const std::string& type = config.rope.type;
    if ((type == "llama3" && !held.rope_freqs) || (type == "longrope" && !held.rope_factors) ||
        (type == "proportional" && !(held.partial_rotary && held.local_theta)))
      refuse("rope_scaling", type, "has no place for it");
    const double local_theta = config.rope.local_theta.value_or(config.rope.theta);
    if (local_theta != config.rope.theta && !held.local_theta)
      refuse("rope_local_base_freq", fmt::format("{}", local_theta), "has one base for all layers");
    if (config.rotary_part != 1 && !held.partial_rotary)
      refuse("partial_rotary_factor", fmt::format("{}", config.rotary_part), "rotates whole heads");
  }

  // Whether layers slide, in the class that config.json names.
  bool slides() const {
    if (!config.sliding_window || *config.sliding_window >= config.n_ctx) return false;
    if (const auto use = stated_switch(root, "use_sliding_window", config.path)) return *use;
    return config.hf_class->window_by_default;
  }

  void check_switches() const {
    if (json_field(root, "per_layer_config"))
      refuse("per_layer_config", "sizes by layer", "has those of two kinds of layers only");
    // "vision" is of images alone.
    constexpr const char* kBothWays = "use_bidirectional_attention";
    if (const json* both = json_field(root, kBothWays); both && *both != "vision" && *both != false)
      refuse(kBothWays, json_text(root, kBothWays).value_or(both->dump()), "looks back only");
    for (const HfRefused& row : config.architecture->hf->refused) {
      const auto value = config.number(row.key);
      if (value && (*value != 0) == row.value) refuse(row.key, root.at(row.key).dump(), row.why);
    }
  }

  // Steps of Mamba-2's states, which programs do not clamp: from 0 to anything.
  void check_steps() const {
    if (!held.steps) return;
    for (const char* key : {"time_step_limit", "mamba_dt_limit"}) check_steps(key);
  }
  void check_steps(const char* key) const {
    const json* limit = json_field(root, key);
    if (!limit || limit->is_null()) return;
    const auto is_least = [](const json& v) { return v.is_number() && v.get<double>() == 0; };
    const auto is_most = [](const json& v) { return !v.is_number() || v.get<double>() >= 1e30; };
    if (!limit->is_array() || limit->size() != 2 || !is_least((*limit)[0]) || !is_most((*limit)[1]))
      refuse(key, limit->dump(), "has steps without bounds");
  }

  // Of layers that are not told positions.
  void check_no_rope() const {
    const json* layers = stated_list(root, "no_rope_layers", config.path);
    const auto period = stated_integer(root, "no_rope_layer_interval", config.path);
    if (held.no_rope_period == 0) return;
    if (!layers && period && *period != held.no_rope_period) {
      refuse("no_rope_layer_interval", fmt::format("{}", *period),
             fmt::format("rotates all but every {}th layer", held.no_rope_period));
    }
    if (!layers) return;
    int64_t layer = 0;
    for (const json& rotates : *layers) {
      if ((rotates != 0) == (++layer % held.no_rope_period != 0)) continue;
      refuse("no_rope_layers", fmt::format("{} in layer {}", rotates.dump(), layer - 1),
             fmt::format("rotates all but every {}th layer", held.no_rope_period));
    }
  }

  void check_layer_types(bool slides_at_all) const {
    const json* types = stated_list(root, "layer_types", config.path);
    const auto letters = json_text(root, "sliding_window_pattern");
    const auto period = letters ? std::nullopt : stated_integer(root, "sliding_window_pattern", config.path);
    if (!types && period && slides_at_all && *period != held.window_period) {
      refuse("sliding_window_pattern", fmt::format("{}", *period),
             fmt::format("has a layer without a window after every {} with one", held.window_period - 1));
    }
    if (!types && letters && slides_at_all) {
      for (int64_t i = 0; i < config.n_layer && !letters->empty(); ++i) {
        const bool has_window = (*letters)[size_t(i) % letters->size()] == 'L';
        if (has_window != ((i + 1) % held.window_period != 0)) {
          refuse("sliding_window_pattern", *letters,
                 fmt::format("has a layer without a window after every {} with one", held.window_period - 1));
        }
      }
    }
    if (!types) return;
    if (int64_t(types->size()) != config.n_layer) {
      fail("{}: layer_types: {} for {} layers", config.path, types->size(), config.n_layer);
    }
    // Also where the window is as long as the context: layers of the two types may be told positions
    // otherwise.
    const bool types_matter = slides_at_all || (config.hf_class->window_by_default && config.sliding_window);
    int64_t layer = 0;
    for (const json& type : *types) {
      const bool is_full = type == "full_attention", wants_full = ++layer % held.window_period == 0;
      if (!is_full && type != "sliding_attention") refuse("layer_types", type.dump(), "has no such layers");
      if (types_matter && is_full != wants_full) {
        refuse("layer_types", fmt::format("{} in layer {}", type.dump(), layer - 1),
               fmt::format("has a layer without a window after every {} with one", held.window_period - 1));
      }
    }
  }

  void check_window(std::vector<std::string>& lines) const {
    if (held.window_period > 0) return check_layer_types(slides());
    const json* types = stated_list(root, "layer_types", config.path);
    bool any = slides();
    for (const json& type : types ? *types : json::array()) {
      const bool is_recurrent = !held.recurrent.empty() && type == held.recurrent;
      const bool slides_there = held.recurrent.empty() && type == "sliding_attention";
      if (type != held.attention && !slides_there && !is_recurrent)
        refuse("layer_types", type.dump(), "has no such layers");
      any = any || type == "sliding_attention";
    }
    if (!any || held.own_window || !config.sliding_window || *config.sliding_window >= config.n_ctx) return;
    lines.push_back(fmt::format(
        "sliding_window: {} is not kept, GGUF's {} has none: beyond so many tokens the model looks "
        "further back than it learned to",
        *config.sliding_window, config.architecture->name));
  }

  // GGUF has no place for layers without experts between others; where the weights have none for them, that
  // is an error later.
  void check_dense_layers(std::vector<std::string>& lines) const {
    if (config.architecture->hf->experts.empty()) return;
    const json* layers = stated_list(root, "mlp_only_layers", config.path);
    const bool names_some = layers && !layers->empty();
    if (!names_some && stated_number(root, "decoder_sparse_step", config.path).value_or(1) <= 1) return;
    lines.push_back(fmt::format("{}: what the weights say counts: all layers have experts",
                                names_some ? "mlp_only_layers" : "decoder_sparse_step"));
  }

  // DeepSeek V2's choice without its groups.
  void check_groups() const {
    const auto method = stated_text(root, "topk_method", config.path);
    if (config.n_expert > 0 && method == "greedy" && json_integer(root, "n_group").value_or(1) > 1)
      refuse("topk_method", *method, "chooses among the best groups of experts, n_group is above 1");
  }

  // What attention is scaled by, and how it and the output are capped.
  void check_scales() const {
    if (!held.query_scalar) return;
    constexpr int64_t class_default = 256;
    const double scalar = stated_number(root, "query_pre_attn_scalar", config.path).value_or(class_default);
    const double computed = config.n_layer == held.large ? double(config.n_embd) / double(config.n_head)
                                                         : double(config.head_dim);
    if (scalar != computed) {
      refuse("query_pre_attn_scalar", fmt::format("{}", scalar),
             fmt::format("of {} layers computes with {}", config.n_layer, computed));
    }
    for (const auto& [key, cap] : {std::pair("attn_logit_softcapping", config.attn_softcap),
                                   std::pair("final_logit_softcapping", config.final_softcap)}) {
      if (held.caps_logits) {
        if (root.contains(key) && !cap) refuse(key, "null", "caps them");
      } else if (cap) {
        refuse(key, fmt::format("{}", *cap), "caps none");
      }
    }
  }
};

struct Foreign {
  std::string_view what;
  std::vector<const char*> keys;  // any of them
};

}  // namespace

std::string what_is_foreign(const json& root, std::string_view hf_class) {
  if (json_bool(root, "is_encoder_decoder").value_or(false)) return "an encoder beside its decoder";
  std::string what;
  for (const Foreign& row :
       {Foreign{"mixtures of experts",
                {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts",
                 "num_experts_per_tok"}},
        Foreign{"state-space layers (Mamba)", {"mamba_d_state", "ssm_cfg", "state_size", "ssm_state_size"}},
        Foreign{"linear attention", {"linear_num_value_heads", "linear_attn_config"}},
        Foreign{"short convolutions", {"conv_L_cache"}},
        Foreign{"recurrent layers", {"rwkv_version", "lru_width", "head_size_a"}},
        Foreign{"latent attention", {"kv_lora_rank"}}}) {
    const bool has_any = std::ranges::any_of(row.keys, [&](const char* key) {
      return json_field(root, key) && (json_field(root, key)->is_object() || json_number(root, key) > 0.0);
    });
    if (has_any) what += fmt::format("{}{}", what.empty() ? "" : ", ", row.what);
  }
  const bool generates = hf_class.ends_with("ForCausalLM") || hf_class.ends_with("LMHeadModel") ||
                         hf_class.ends_with("ForConditionalGeneration");
  if (what.empty() && !generates) what = "another output than the next token";
  return what;
}

std::vector<std::string> check_unheld(const json& root, const HfConfig& config) {
  std::vector<std::string> lines;
  const Checker checker{root, config, config.architecture->hf->computed};
  checker.check_switches();
  checker.check_activation();
  checker.check_rope();
  checker.check_no_rope();
  checker.check_steps();
  checker.check_window(lines);
  checker.check_scales();
  checker.check_groups();
  checker.check_dense_layers(lines);
  if (config.rope.type == "dynamic") {
    lines.emplace_back(
        "rope_scaling: dynamic scaling cannot be written to GGUF; the model is converted without it");
  }
  return lines;
}

}  // namespace lora
