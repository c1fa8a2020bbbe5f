// Granite 4 H: as Granite 3 with experts or without, with Mamba-2 in place of attention in most layers; the
// others are mostly not told positions.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/error.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_granite_factors(keys, c);
  read_experts(keys, c, Gating::softmax, true, Mixture::where_the_file_has_one);
  read_mamba2(keys, c);
  c.has_rope = keys.gguf.get_bool(keys.key("rope.scaling.finetuned")).value_or(true);
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer = pre_norm_layer(c, attention(c, i), mlp_or_experts(c, i, Activation::silu));
  if (c.heads_kv(i) == 0) layer[0].bodies = {mamba2(c)};
  return layer;
}

constexpr auto kMamba = hf::mamba2_modules(hf::kMambaNames, false);
// Without experts, what all tokens go through is the MLP.
constexpr HfModule kMlp[] = {
    {.hf = "shared_mlp.input_linear",
     .gguf = "ffn_gate",
     .n_out = Dim::ff,
     .n_in = Dim::embd,
     .of_hf = Rows::gate},
    {.hf = "shared_mlp.input_linear",
     .gguf = "ffn_up",
     .n_out = Dim::ff,
     .n_in = Dim::embd,
     .of_hf = Rows::up},
    {"shared_mlp.output_linear", "ffn_down", Dim::embd, Dim::ff},
};

bool is_told_positions(const HfConfig& config) {
  return config.text("position_embedding_type") == "rope";
}

void read_hf(HfConfig& config) {
  hf::read_mamba2(config, {.n_conv = {"mamba_d_conv", 4},
                           .n_state = {"mamba_d_state", 256},
                           .n_head = {"mamba_n_heads", 128},
                           .n_group = {"mamba_n_groups", 1},
                           .head_dim = {"mamba_d_head", 0}});
  if (config.ssm.n_inner == 0) config.ssm.n_inner = config.count("mamba_expand", 2) * config.n_embd;
  // As llama.cpp's converter has it where nothing tells positions.
  if (!is_told_positions(config)) config.n_ctx = int64_t{1} << 20;
}

void write_keys(GgufWriter& writer, const HfConfig& config) {
  hf::write_mamba2_keys(writer, config);
  writer.set_bool("granitehybrid.rope.scaling.finetuned", is_told_positions(config));
  if (config.n_expert > 0) return;
  writer.set_u32("granitehybrid.expert_count", 0);
  writer.set_u32("granitehybrid.expert_used_count", 0);
}

constexpr HfFamily kHf = {
    .classes = {{.name = "GraniteMoeHybridForCausalLM", .has_experts = true, .may_lack_experts = true}},
    .layer = {hf::kTwoNorms},
    .attention = {hf::kUnbiasedAttention},
    .recurrent = {kMamba},
    .dense = {kMlp},
    .experts = {hf::kGraniteRouter, hf::kGraniteExperts, hf::kGraniteShared},
    .reorders_heads = true,
    .computed = {.recurrent = "mamba", .attention = "attention", .steps = true},
    .numbers = {{"attention_multiplier", "attention.scale", 1},
                {"embedding_multiplier", "embedding_scale", 1},
                {"residual_multiplier", "residual_scale", 1},
                {"logits_scaling", "logit_scale", 1}},
    .counts = {{"shared_intermediate_size", "expert_shared_feed_forward_length"}},
    .refused = {{"attention_bias", true, "has none"}, {"mamba_proj_bias", true, "has none"}},
    .writes_n_rot = true,
    .writes_kv_by_layer = true,
    .read = read_hf,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kGraniteHybrid = {
    .name = "granitehybrid",
    .models = "Granite 4 H",
    .rope_style = RopeStyle::interleaved,
    .layers_differ = true,
    .read = read,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
