// What LFM2's two families share: which layers have attention, and what both have at Hugging Face.
#pragma once

#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {

// How far the short convolutions look back, and that a layer without heads of keys has one.
void read_lfm2(const Keys& keys, ModelConfig& config);
LayerSpec lfm2_layer(const ModelConfig& config, int64_t i);

// GGUF calls the norm behind the layers as if it stood behind the embedding; at Hugging Face it is
// embedding_norm.
inline constexpr std::string_view kLfm2OutputNorm = "token_embd_norm";

namespace hf {

inline constexpr HfModule kLfm2Norms[] = {
    {"operator_norm", "attn_norm", Dim::none, Dim::embd},
    {"ffn_norm", "ffn_norm", Dim::none, Dim::embd},
};
inline constexpr HfModule kLfm2Attention[] = {
    {"self_attn.q_proj", "attn_q", Dim::heads, Dim::embd},
    {"self_attn.k_proj", "attn_k", Dim::kv_heads, Dim::embd},
    {"self_attn.v_proj", "attn_v", Dim::kv_heads, Dim::embd},
    {"self_attn.out_proj", "attn_output", Dim::embd, Dim::heads},
    {"self_attn.q_layernorm", "attn_q_norm", Dim::none, Dim::head},
    {"self_attn.k_layernorm", "attn_k_norm", Dim::none, Dim::head},
};
inline constexpr HfModule kShortConv[] = {
    {"conv.in_proj", "shortconv.in_proj", Dim::three_embd, Dim::embd},
    {.hf = "conv.conv", .gguf = "shortconv.conv", .n_out = Dim::embd, .n_in = Dim::conv, .is_conv = true},
    {"conv.out_proj", "shortconv.out_proj", Dim::embd, Dim::embd},
};
inline constexpr HfModule kLfm2Mlp[] = {
    {"feed_forward.w1", "ffn_gate", Dim::ff, Dim::embd},
    {"feed_forward.w3", "ffn_up", Dim::ff, Dim::embd},
    {"feed_forward.w2", "ffn_down", Dim::embd, Dim::ff},
};
inline constexpr HfModule kLfm2Root[] = {
    kRoot[0],
    {"embedding_norm", kLfm2OutputNorm, Dim::none, Dim::embd},
    kRoot[2],
};
inline constexpr HfComputed kLfm2Computed = {.recurrent = "conv"};
inline constexpr HfDefaults kLfm2Defaults = {
    .n_vocab = 65536, .n_head = 32, .n_head_kv = 8, .n_ctx = 128000, .rope_theta = 1e6, .norm_eps = 1e-5};
inline constexpr HfRefused kNoConvBias = {"conv_bias", true, "has short convolutions without biases"};

// The taps, and which layers have attention where layer_types does not say: the first models' files have
// their numbers.
void read_lfm2(HfConfig& config);
void write_lfm2_keys(GgufWriter& writer, const HfConfig& config);

}  // namespace hf
}  // namespace lora
