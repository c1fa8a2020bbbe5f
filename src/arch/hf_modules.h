// The modules that most families have at Hugging Face, to put HfFamily::layer together from.
#pragma once

#include <array>

#include "arch/hf.h"

namespace lora::hf {

inline constexpr HfModule kAttention[] = {
    {"self_attn.q_proj", "attn_q", Dim::heads, Dim::embd, RowOrder::heads, true},
    {"self_attn.k_proj", "attn_k", Dim::kv_heads, Dim::embd, RowOrder::kv_heads, true},
    {"self_attn.v_proj", "attn_v", Dim::kv_heads, Dim::embd, RowOrder::as_is, true},
    {"self_attn.o_proj", "attn_output", Dim::embd, Dim::heads},
};
// q, k and v as rows of GGUF's one tensor, as adapters of models have them that were taken apart.
inline constexpr HfModule kApart[] = {
    {.hf = "self_attn.q_proj",
     .gguf = "attn_qkv",
     .n_out = Dim::heads,
     .n_in = Dim::embd,
     .of_gguf = Rows::q},
    {.hf = "self_attn.k_proj",
     .gguf = "attn_qkv",
     .n_out = Dim::kv_heads,
     .n_in = Dim::embd,
     .of_gguf = Rows::k},
    {.hf = "self_attn.v_proj",
     .gguf = "attn_qkv",
     .n_out = Dim::kv_heads,
     .n_in = Dim::embd,
     .of_gguf = Rows::v},
};
inline constexpr HfModule kMlpApart[] = {
    {.hf = "mlp.gate_proj", .gguf = "ffn_up", .n_out = Dim::ff, .n_in = Dim::embd, .of_gguf = Rows::gate},
    {.hf = "mlp.up_proj", .gguf = "ffn_up", .n_out = Dim::ff, .n_in = Dim::embd, .of_gguf = Rows::up},
};
inline constexpr HfModule kHeadNorms[] = {
    {"self_attn.q_norm", "attn_q_norm", Dim::none, Dim::head},
    {"self_attn.k_norm", "attn_k_norm", Dim::none, Dim::head},
};
inline constexpr HfModule kMlp[] = {
    {"mlp.gate_proj", "ffn_gate", Dim::ff, Dim::embd},
    {"mlp.up_proj", "ffn_up", Dim::ff, Dim::embd},
    {"mlp.down_proj", "ffn_down", Dim::embd, Dim::ff},
};
// Up and down without a gate.
inline constexpr HfModule kPlainMlp[] = {
    {"mlp.up_proj", "ffn_up", Dim::ff, Dim::embd},
    {"mlp.down_proj", "ffn_down", Dim::embd, Dim::ff},
};
inline constexpr HfModule kFusedMlp[] = {
    {"mlp.gate_up_proj", "ffn_up", Dim::two_ff, Dim::embd},
    {"mlp.down_proj", "ffn_down", Dim::embd, Dim::ff},
};
inline constexpr HfModule kTwoNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    {"post_attention_layernorm", "ffn_norm", Dim::none, Dim::embd},
};
// Behind the bodies alone.
inline constexpr HfModule kPostNorms[] = {
    {"post_attention_layernorm", "post_attention_norm", Dim::none, Dim::embd},
    {"post_feedforward_layernorm", "post_ffw_norm", Dim::none, Dim::embd},
};
// One, before attention and MLP side by side.
inline constexpr HfModule kOneNorm[] = {{"input_layernorm", "attn_norm", Dim::none, Dim::embd}};
// Of queries and keys over all heads together.
inline constexpr HfModule kRowNorms[] = {
    {"self_attn.q_norm", "attn_q_norm", Dim::none, Dim::heads},
    {"self_attn.k_norm", "attn_k_norm", Dim::none, Dim::kv_heads},
};
// Before and after attention and MLP.
inline constexpr HfModule kFourNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    {"post_attention_layernorm", "post_attention_norm", Dim::none, Dim::embd},
    {"pre_feedforward_layernorm", "ffn_norm", Dim::none, Dim::embd},
    {"post_feedforward_layernorm", "post_ffw_norm", Dim::none, Dim::embd},
};
// The same with a bias where the file has one, or without.
template <size_t n>
constexpr std::array<HfModule, n> with_biases(const HfModule (&modules)[n], bool may_have = true) {
  std::array<HfModule, n> result{};
  for (size_t i = 0; i < n; ++i) result[i] = modules[i], result[i].may_have_bias = may_have;
  return result;
}
// The same as adapters of MLX know them, whose names are others than Hugging Face's.
template <size_t n>
constexpr std::array<HfModule, n> of_adapters(const HfModule (&modules)[n]) {
  std::array<HfModule, n> result{};
  for (size_t i = 0; i < n; ++i) result[i] = modules[i], result[i].of_adapters = true;
  return result;
}
// Experts in a module each.
inline constexpr HfModule kExperts[] = {
    {.hf = "mlp.experts.#.gate_proj",
     .gguf = "ffn_gate_exps",
     .n_out = Dim::expert_ff,
     .n_in = Dim::embd,
     .stack = Stack::each},
    {.hf = "mlp.experts.#.up_proj",
     .gguf = "ffn_up_exps",
     .n_out = Dim::expert_ff,
     .n_in = Dim::embd,
     .stack = Stack::each},
    {.hf = "mlp.experts.#.down_proj",
     .gguf = "ffn_down_exps",
     .n_out = Dim::embd,
     .n_in = Dim::expert_ff,
     .stack = Stack::each},
};
// Mamba-2's input and output, convolution, steps, A, D and norm, by their names.
struct Mamba2Names {
  std::string_view in, conv, dt_bias, a, d, norm, out;
};
constexpr std::array<HfModule, 7> mamba2_modules(const Mamba2Names& names, const char* conv_bias_key,
                                                 bool norm_may_be_absent = false) {
  return {{{names.in, "ssm_in", Dim::ssm_in, Dim::embd},
           {.hf = names.conv,
            .gguf = "ssm_conv1d",
            .n_out = Dim::ssm_conv,
            .n_in = Dim::conv,
            .may_have_bias = true,
            .bias_key = conv_bias_key,
            .is_conv = true},
           {.hf = names.dt_bias, .gguf = "ssm_dt", .n_in = Dim::ssm_heads, .hf_end = "", .gguf_end = ".bias"},
           {.hf = names.a,
            .gguf = "ssm_a",
            .n_out = Dim::ssm_heads,
            .n_in = Dim::one,
            .is_flat = true,
            .negated_exp = true,
            .hf_end = "",
            .gguf_end = ""},
           {.hf = names.d,
            .gguf = "ssm_d",
            .n_out = Dim::ssm_heads,
            .n_in = Dim::one,
            .is_flat = true,
            .hf_end = "",
            .gguf_end = ""},
           {.hf = names.norm,
            .gguf = "ssm_norm",
            .n_out = Dim::ssm_groups,
            .n_in = Dim::ssm_group,
            .may_be_absent = norm_may_be_absent,
            .is_flat = true},
           {names.out, "ssm_out", Dim::embd, Dim::ssm_inner}}};
}
inline constexpr Mamba2Names kMambaNames = {"mamba.in_proj", "mamba.conv1d", "mamba.dt_bias", "mamba.A_log",
                                            "mamba.D",       "mamba.norm",   "mamba.out_proj"};
inline constexpr Mamba2Names kMixerNames = {"mixer.in_proj", "mixer.conv1d", "mixer.dt_bias", "mixer.A_log",
                                            "mixer.D",       "mixer.norm",   "mixer.out_proj"};
// In one tensor each for gate and up and for down: with these names and what follows them.
constexpr std::array<HfModule, 3> stacked_experts(std::string_view gate_up, std::string_view down,
                                                  std::string_view end, Stack stack, bool in_turn) {
  HfModule gate = {.hf = gate_up,
                   .gguf = "ffn_gate_exps",
                   .n_out = Dim::expert_ff,
                   .n_in = Dim::embd,
                   .of_hf = Rows::gate,
                   .stack = stack,
                   .in_turn = in_turn,
                   .hf_end = end};
  HfModule up = gate;
  up.gguf = "ffn_up_exps", up.of_hf = Rows::up;
  return {gate,
          up,
          {.hf = down,
           .gguf = "ffn_down_exps",
           .n_out = Dim::embd,
           .n_in = Dim::expert_ff,
           .stack = stack,
           .hf_end = end}};
}
// As version 5 of Hugging Face's library has them in memory.
inline constexpr auto kStackedExperts =
    stacked_experts("mlp.experts.gate_up_proj", "mlp.experts.down_proj", "", Stack::whole, false);
// Granite's experts, their router, and what all tokens go through beside them.
inline constexpr auto kGraniteExperts = stacked_experts(
    "block_sparse_moe.input_linear", "block_sparse_moe.output_linear", ".weight", Stack::whole, false);
inline constexpr HfModule kGraniteRouter[] = {
    {"block_sparse_moe.router.layer", "ffn_gate_inp", Dim::experts, Dim::embd}};
inline constexpr HfModule kGraniteShared[] = {
    {.hf = "shared_mlp.input_linear",
     .gguf = "ffn_gate_shexp",
     .n_out = Dim::shared_ff,
     .n_in = Dim::embd,
     .of_hf = Rows::gate,
     .may_be_absent = true},
    {.hf = "shared_mlp.input_linear",
     .gguf = "ffn_up_shexp",
     .n_out = Dim::shared_ff,
     .n_in = Dim::embd,
     .of_hf = Rows::up,
     .may_be_absent = true},
    {.hf = "shared_mlp.output_linear",
     .gguf = "ffn_down_shexp",
     .n_out = Dim::embd,
     .n_in = Dim::shared_ff,
     .may_be_absent = true},
};
inline constexpr HfList<HfNumber, 4> kGraniteNumbers = {{"attention_multiplier", "attention.scale", 1},
                                                        {"embedding_multiplier", "embedding_scale", 1},
                                                        {"residual_multiplier", "residual_scale", 1},
                                                        {"logits_scaling", "logit_scale", 1}};
inline constexpr HfModule kRouter[] = {
    {.hf = "mlp.gate", .gguf = "ffn_gate_inp", .n_out = Dim::experts, .n_in = Dim::embd, .is_router = true}};
// With a bias of the choice, and experts that all tokens go through.
constexpr std::array<HfModule, 5> router_and_shared_experts(bool (*may_lack_choice_bias)(const HfConfig&,
                                                                                         int64_t) = nullptr) {
  return {{kRouter[0],
           {.hf = "mlp.gate.e_score_correction_bias",
            .gguf = "exp_probs_b",
            .n_in = Dim::experts,
            .may_be_absent_in = may_lack_choice_bias,
            .hf_end = "",
            .gguf_end = ".bias"},
           {"mlp.shared_experts.gate_proj", "ffn_gate_shexp", Dim::shared_ff, Dim::embd},
           {"mlp.shared_experts.up_proj", "ffn_up_shexp", Dim::shared_ff, Dim::embd},
           {"mlp.shared_experts.down_proj", "ffn_down_shexp", Dim::embd, Dim::shared_ff}}};
}
// Programs that do not guess ahead skip these layers.
inline constexpr HfModule kAhead[] = {
    {"eh_proj", "nextn.eh_proj", Dim::embd, Dim::two_embd},
    {.hf = "embed_tokens",
     .gguf = "nextn.embed_tokens",
     .n_out = Dim::vocab,
     .n_in = Dim::embd,
     .may_be_absent = true},
    {"enorm", "nextn.enorm", Dim::none, Dim::embd},
    {"hnorm", "nextn.hnorm", Dim::none, Dim::embd},
    {.hf = "shared_head.head",
     .gguf = "nextn.shared_head_head",
     .n_out = Dim::vocab,
     .n_in = Dim::embd,
     .may_be_absent = true},
    {"shared_head.norm", "nextn.shared_head_norm", Dim::none, Dim::embd},
};
inline constexpr auto kUnbiasedAttention = with_biases(kAttention, false);
inline constexpr auto kBiasedAttention = with_biases(kAttention);
inline constexpr auto kBiasedMlp = with_biases(kMlp);
inline constexpr auto kBiasedPlainMlp = with_biases(kPlainMlp);
inline constexpr auto kBiasedTwoNorms = with_biases(kTwoNorms);
inline constexpr auto kBiasedOneNorm = with_biases(kOneNorm);
// Where the norm has a bias.
inline constexpr HfModule kBiasedRoot[] = {
    kRoot[0],
    {.hf = "norm", .gguf = "output_norm", .n_in = Dim::embd, .may_have_bias = true},
    kRoot[2],
};

}  // namespace lora::hf
