// What Qwen 3.5 and Qwen 3 Next share: layers with a gated delta net, and every few layers one with gated
// attention in its place; how Hugging Face has them.
#pragma once

#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {

// Sizes of the delta net, and which layers have it. in_turn: value heads take key heads in turn, which is how
// conversion sorts them; else each key head's value heads are neighbours, as at Hugging Face.
void read_delta_net(const Keys& keys, ModelConfig& config, bool in_turn);

// attn_norm, the delta net (fused_gates: beta and alpha in ssm_ba) or attention with an output gate and norms
// of heads; post_attention_norm, `mlp`.
LayerSpec delta_layer(const ModelConfig& config, int64_t i, bool fused_gates, Bodies mlp);
// Experts, and a shared one that every token lets through as much as it wants.
Bodies gated_experts(const ModelConfig& config);

// Of config.json, which layers have attention where layer_types does not say, and sizes.
void read_hf_delta_net(HfConfig& config);
void write_delta_net_keys(GgufWriter& writer, const HfConfig& config);
// The same with what rotary embeddings of images need, in text one like all others.
void write_delta_net_and_section_keys(GgufWriter& writer, const HfConfig& config);

namespace hf {
inline constexpr HfModule kDeltaNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    {"post_attention_layernorm", "post_attention_norm", Dim::none, Dim::embd},
};
inline constexpr HfModule kGatedAttention[] = {
    {"self_attn.q_proj", "attn_q", Dim::two_heads, Dim::embd},
    {"self_attn.k_proj", "attn_k", Dim::kv_heads, Dim::embd},
    {"self_attn.v_proj", "attn_v", Dim::kv_heads, Dim::embd},
    {"self_attn.o_proj", "attn_output", Dim::embd, Dim::heads},
    {"self_attn.q_norm", "attn_q_norm", Dim::none, Dim::head},
    {"self_attn.k_norm", "attn_k_norm", Dim::none, Dim::head},
};
// Value heads in turn.
inline constexpr HfModule kDeltaNet[] = {
    {.hf = "linear_attn.in_proj_qkv",
     .gguf = "attn_qkv",
     .n_out = Dim::delta_qkv,
     .n_in = Dim::embd,
     .delta = DeltaOrder::qkv},
    {.hf = "linear_attn.in_proj_z",
     .gguf = "attn_gate",
     .n_out = Dim::delta_values,
     .n_in = Dim::embd,
     .delta = DeltaOrder::values},
    {.hf = "linear_attn.in_proj_b",
     .gguf = "ssm_beta",
     .n_out = Dim::delta_heads,
     .n_in = Dim::embd,
     .delta = DeltaOrder::heads},
    {.hf = "linear_attn.in_proj_a",
     .gguf = "ssm_alpha",
     .n_out = Dim::delta_heads,
     .n_in = Dim::embd,
     .delta = DeltaOrder::heads},
    {.hf = "linear_attn.conv1d",
     .gguf = "ssm_conv1d",
     .n_out = Dim::delta_qkv,
     .n_in = Dim::conv,
     .is_conv = true,
     .delta = DeltaOrder::qkv},
    {.hf = "linear_attn.dt_bias",
     .gguf = "ssm_dt",
     .n_out = Dim::delta_heads,
     .delta = DeltaOrder::heads,
     .hf_end = "",
     .gguf_end = ".bias"},
    {.hf = "linear_attn.A_log",
     .gguf = "ssm_a",
     .n_out = Dim::delta_heads,
     .delta = DeltaOrder::heads,
     .negated_exp = true,
     .hf_end = "",
     .gguf_end = ""},
    {.hf = "linear_attn.norm", .gguf = "ssm_norm", .n_in = Dim::delta_value, .is_whole = true},
    {.hf = "linear_attn.out_proj",
     .gguf = "ssm_out",
     .n_out = Dim::embd,
     .n_in = Dim::delta_values,
     .delta = DeltaOrder::columns},
};
// Value heads as they are; q, k, v and z of a key head side by side, and so beta and alpha.
inline constexpr HfModule kPackedDeltaNet[] = {
    {.hf = "linear_attn.in_proj_qkvz",
     .gguf = "attn_qkv",
     .n_out = Dim::delta_qkv,
     .n_in = Dim::embd,
     .delta = DeltaOrder::packed_qkv},
    {.hf = "linear_attn.in_proj_qkvz",
     .gguf = "attn_gate",
     .n_out = Dim::delta_values,
     .n_in = Dim::embd,
     .delta = DeltaOrder::packed_z},
    {"linear_attn.in_proj_ba", "ssm_ba", Dim::two_delta_heads, Dim::embd},
    {.hf = "linear_attn.conv1d",
     .gguf = "ssm_conv1d",
     .n_out = Dim::delta_qkv,
     .n_in = Dim::conv,
     .is_conv = true},
    {.hf = "linear_attn.dt_bias",
     .gguf = "ssm_dt",
     .n_out = Dim::delta_heads,
     .hf_end = "",
     .gguf_end = ".bias"},
    {.hf = "linear_attn.A_log",
     .gguf = "ssm_a",
     .n_out = Dim::delta_heads,
     .negated_exp = true,
     .hf_end = "",
     .gguf_end = ""},
    {.hf = "linear_attn.norm", .gguf = "ssm_norm", .n_in = Dim::delta_value, .is_whole = true},
    {"linear_attn.out_proj", "ssm_out", Dim::embd, Dim::delta_values},
};
inline constexpr HfModule kGatedSharedExpert[] = {
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp", Dim::shared_ff, Dim::embd},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp", Dim::shared_ff, Dim::embd},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp", Dim::embd, Dim::shared_ff},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp", Dim::one, Dim::embd},
};
// Of layers that predict further tokens, beside what a layer with attention has; outside of their numbered
// modules.
inline constexpr HfModule kDeltaAhead[] = {
    {"fc", "nextn.eh_proj", Dim::embd, Dim::two_embd},
    {"pre_fc_norm_embedding", "nextn.enorm", Dim::none, Dim::embd},
    {"pre_fc_norm_hidden", "nextn.hnorm", Dim::none, Dim::embd},
    {"norm", "nextn.shared_head_norm", Dim::none, Dim::embd},
};
}  // namespace hf

}  // namespace lora
