// The pieces that most families' layers are put together from, with GGUF's usual names of tensors. What a family
// has otherwise, its file changes in what these return.
#pragma once

#include "arch/config.h"
#include "arch/spec.h"

namespace lora {

// Of length n, or n_embd.
NormSpec norm(const ModelConfig& config, std::string_view tensor, int64_t n = 0);

// attn_q, attn_k, attn_v, attn_output, with the window that layer i has, and the rotary table of such layers.
AttentionSpec attention(const ModelConfig& config, int64_t i);

// ffn_gate, ffn_up, ffn_down.
MlpSpec gated_mlp(const ModelConfig& config, Activation activation);

// The branches that read the stream through attn_norm and ffn_norm.
LayerSpec pre_norm_layer(const ModelConfig& config, AttentionSpec attention, MlpSpec mlp);

}  // namespace lora
