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
inline constexpr HfModule kRouter[] = {
    {.hf = "mlp.gate", .gguf = "ffn_gate_inp", .n_out = Dim::experts, .n_in = Dim::embd, .is_router = true}};
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
