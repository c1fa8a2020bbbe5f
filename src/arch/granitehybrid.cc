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
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer = pre_norm_layer(c, attention(c, i), mlp_or_experts(c, i, Activation::silu));
  if (c.heads_kv(i) == 0) layer[0].bodies = {mamba2(c)};
  return layer;
}

constexpr auto kMamba = hf::mamba2_modules(hf::kMambaNames, "mamba_conv_bias");
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

constexpr auto kMlpOfAdapters = hf::of_adapters(hf::kMlp);

bool is_told_positions(const HfConfig& config) {
  return config.text("position_embedding_type") == "rope";
}

constexpr HfMamba2Keys kKeys = {.n_conv = {"mamba_d_conv", 4},
                                .n_state = {"mamba_d_state", 256},
                                .n_head = {"mamba_n_heads", 128},
                                .n_group = {"mamba_n_groups", 1},
                                .head_dim = {"mamba_d_head", 0},
                                .norm_may_differ = true};

void read_hf(HfConfig& config) {
  if (config.n_expert == 0) config.n_ff = config.count("shared_intermediate_size");
  hf::read_mamba2(config, kKeys);
  hf::finish_mamba2(config, kKeys, "mamba_expand", config.count("mamba_expand", 2) * config.n_embd);
  // Where nothing says which layers have attention, none has.
  if (config.attends.empty()) config.attends.assign(size_t(config.n_layer), false);
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

constexpr HfDefault kAbsent[] = {
    {"num_local_experts", "8"}, {"shared_intermediate_size", "1024"}, {"num_experts_per_tok", "2"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "GraniteMoeHybridForCausalLM", .has_experts = true, .may_lack_experts = true}},
    .layer = {hf::kTwoNorms},
    .attention = {hf::kUnbiasedAttention},
    .recurrent = {kMamba},
    .dense = {kMlp, kMlpOfAdapters},
    .experts = {hf::kGraniteRouter, hf::kGraniteExperts, hf::kGraniteShared},
    .reorders_heads = true,
    .computed = {.recurrent = "linear_attention", .steps = true},
    .absent = kAbsent,
    .numbers = hf::kGraniteNumbers,
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
    .has_rope = HasRope::as_said,
    .layers_differ = true,
    .read = read,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
