#include "family_models.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "arch/hf.h"
#include "base/random.h"
#include "convert/hf_config.h"

namespace lora::test {
namespace {

HfStored numbers(const std::string& name, std::vector<int64_t> shape, double mean) {
  HfStored stored{"F32", std::move(shape), {}, {}};
  int64_t n = 1;
  for (const int64_t extent : stored.shape) n *= extent;
  for (int64_t i = 0; i < n; ++i) {
    const double u = random_uniform(11, Purpose::test, stream_id(name), uint64_t(i));
    stored.values.push_back(float(mean + 0.2 * (2 * u - 1)));
  }
  stored.bytes.assign(reinterpret_cast<const char*>(stored.values.data()),
                      stored.values.size() * sizeof(float));
  return stored;
}

}  // namespace

std::vector<const Architecture*> hf_families() {
  std::vector<const Architecture*> families;
  for (const Architecture* row : architectures()) {
    if (row->hf) families.push_back(row);
  }
  return families;
}

HfConfig config_of(const HfModel& model) {
  return parse_hf_config(model.config.dump(), model.name + "/config.json");
}

HfModel family_model(const Architecture& architecture, int64_t n_layer, std::string_view hf_class,
                     int64_t n_expert_ff) {
  const HfFamily& family = *architecture.hf;
  HfModel model;
  model.name = model.architecture = architecture.name;
  model.byte_level = true;
  const bool is_tied = family.always_tied;
  const HfClass& as = hf_class.empty() ? *family.classes.begin()
                                       : *std::ranges::find(family.classes, hf_class, &HfClass::name);
  model.config = {{"architectures", {as.name}},
                  {"model_type", as.model_type},
                  {family.sizes.n_embd, 64},
                  {family.sizes.n_ff, 96},
                  {family.sizes.n_layer, n_layer},
                  {family.sizes.n_head, 4},
                  // llama.cpp takes a row of OLMoE's keys to be as long as one of queries.
                  {"num_key_value_heads", architecture.name == "olmoe" ? 4 : 2},
                  {"head_dim", 16},
                  {"vocab_size", byte_level_tokenizer()["model"]["vocab"].size() + 3},
                  {family.sizes.n_ctx, 512},
                  {"tie_word_embeddings", is_tied},
                  {family.norm_eps, 1e-5},
                  {family.computed.activation_key, family.computed.activation}};
  if (family.computed.query_scalar) model.config["query_pre_attn_scalar"] = 16;
  if (family.computed.caps_logits) {
    model.config["attn_logit_softcapping"] = 20.0;
    model.config["final_logit_softcapping"] = 10.0;
  }
  if (as.has_experts) {
    model.config["num_experts"] = 4;
    model.config["num_experts_per_tok"] = 2;
    for (const HfCount& row : family.counts) {
      if (row.hf == std::string("moe_intermediate_size")) model.config[row.hf] = n_expert_ff;
    }
    model.config["shared_expert_intermediate_size"] = 32;
    model.config["shared_intermediate_size"] = 32;
    model.config["n_shared_experts"] = 1;
    model.config["first_k_dense_replace"] = 1;
    model.config["num_dense_layers"] = 1;
    model.config["norm_topk_prob"] = family.refused.empty();
  }
  // Of attention over latents.
  model.config["q_lora_rank"] = 20;
  model.config["kv_lora_rank"] = 24;
  model.config["qk_nope_head_dim"] = 12;
  model.config["qk_rope_head_dim"] = 4;
  model.config["v_head_dim"] = 10;
  if (!family.computed.recurrent.empty()) {  // the first layer, the third ...
    for (int64_t i = 0; i < n_layer; ++i)
      model.config["layer_types"].push_back(i % 2 == 0 ? family.computed.recurrent
                                                       : family.computed.attention);
  }
  // Mamba-2's sizes, by the names that its families have for them; layers of which each is one thing;
  // factors.
  for (const auto& [key, value] : {std::pair<const char*, int64_t>{"mamba_d_conv", 4},
                                   {"mamba_n_heads", 8},
                                   {"mamba_d_head", 16},
                                   {"mamba_n_groups", 2},
                                   {"mamba_d_state", 12},
                                   {"mamba_d_ssm", 128},
                                   {"num_heads", 8},
                                   {"n_groups", 2},
                                   {"state_size", 12},
                                   {"conv_kernel", 4},
                                   {"mamba_num_heads", 8},
                                   {"mamba_head_dim", 16},
                                   {"ssm_state_size", 12}})
    model.config[key] = value;
  model.config["mamba_rms_norm"] = true;
  model.config["mamba_norm_before_gate"] = false;
  if (!family.recurrent.empty())
    model.config["hybrid_override_pattern"] = std::string("M*-M").substr(0, size_t(n_layer));
  if (!family.factor_keys.empty()) {
    double factor = 1.0 / 32;  // powers of two, so that what is multiplied and divided again is the same
    for (const char* key : family.factor_keys) model.config[key] = factor *= 2;
    model.config["mlp_multipliers"] = {0.25, 2};
    model.config["ssm_multipliers"] = {0.5, 2, 0.25, 4, 8};
  }
  // Delta nets'.
  model.config["linear_num_key_heads"] = 2;
  model.config["linear_num_value_heads"] = 6;
  model.config["linear_key_head_dim"] = 8;
  model.config["linear_value_head_dim"] = 12;
  model.config["linear_conv_kernel_dim"] = 3;
  // MiniCPM's factors.
  model.config["scale_emb"] = 12;
  model.config["scale_depth"] = 1.4;
  model.config["dim_model_base"] = 32;
  // Falcon's own words for sizes; to others they say nothing.
  model.config["new_decoder_architecture"] = true;
  model.config["num_ln_in_parallel_attn"] = 1;
  model.config["num_kv_heads"] = 2;
  model.config["ffn_hidden_size"] = 96;

  // Gemma 4's, of its second kind of layer and second table.
  model.config["global_head_dim"] = 24;
  model.config["hidden_size_per_layer_input"] = 8;
  model.config["vocab_size_per_layer_input"] = model.config["vocab_size"];

  const HfConfig config = config_of(model);
  // Of modules that are another way to have a tensor, the first.
  std::set<std::string> added;
  const auto add_one = [&](const HfModule& module, const std::string& name, std::optional<int64_t> layer) {
    const bool is_half = lora::is_half(module.of_hf);
    const int64_t n_rows = is_half ? 2 * config.size(module.n_out, layer)
                           : is_packed(module.delta)
                               ? packed_rows(config.delta)
                               : config.size(module.of_hf == Rows::all ? module.n_out : Dim::qkv, layer);
    const bool is_vector = module.n_out == Dim::none || module.n_in == Dim::none;
    std::vector<int64_t> shape = {n_rows, config.size(module.n_in, layer)};
    if (is_vector) shape = {module.n_out == Dim::none ? config.size(module.n_in, layer) : n_rows};
    if (module.stack == Stack::columns || module.transposed) std::swap(shape[0], shape[1]);
    if (module.is_conv) shape.insert(shape.begin() + 1, 1);
    if (module.is_flat) shape = {n_rows * config.size(module.n_in)};
    if (module.stack == Stack::columns || module.stack == Stack::whole)
      shape.insert(shape.begin(), config.n_expert);
    const bool is_norm = (is_vector || module.is_flat) && module.hf_end == ".weight";
    model.tensors[name + std::string(module.hf_end)] =
        numbers(name, shape, is_norm && !family.norms_lack_one ? 1 : 0);
    if (module.may_have_bias)
      model.tensors[name + ".bias"] = numbers(name + ".bias", {is_vector ? shape[0] : n_rows}, 0);
  };
  const auto add = [&](const HfModule& module, const std::string& before, const std::string& gguf,
                       std::optional<int64_t> layer) {
    if (module.of_gguf != Rows::all || is_of_heads(module.stack)) return;
    if (module.may_be_absent_in && module.may_be_absent_in(config, layer.value_or(0))) return;
    if (!added.insert(gguf + std::string(module.gguf) + std::string(module.gguf_end)).second) return;
    for (int64_t i = 0; i < (module.stack == Stack::each ? config.n_expert : 1); ++i)
      add_one(module, before + hf_numbered(module.hf, i), layer);
  };
  for (const HfModule& module : family.root) {
    const bool is_output = &module == &family.root.back();
    if (!is_output || !is_tied) add(module, std::string(is_output ? "" : family.prefix), "", {});
  }
  for (int64_t layer = 0; layer < config.n_layer; ++layer) {
    const std::string before = fmt::format("{}{}{}.", family.prefix, family.layers, layer);
    const auto add_all = [&](const auto& lists) {
      for (const auto& modules : lists) {
        for (const HfModule& module : modules) add(module, before, fmt::format("blk.{}.", layer), layer);
      }
    };
    add_all(family.layer);
    if (config.has_attention(layer)) add_all(family.attention);
    if (config.has_state(layer)) add_all(family.recurrent);
    if (config.has_mlp(layer)) add_all(config.has_experts(layer) ? family.experts : family.dense);
  }
  return model;
}

}  // namespace lora::test
