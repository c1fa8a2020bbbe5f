// The pieces that most families' layers are put together from, with GGUF's usual names of tensors. What a
// family has otherwise, its file changes in what these return.
#pragma once

#include <string_view>
#include <utility>

#include "arch/config.h"
#include "arch/spec.h"

namespace lora {

// Of length n, or n_embd; "output_norm" is that behind the layers.
NormSpec norm(const ModelConfig& config, std::string_view tensor, int64_t n = 0);

// attn_q, attn_k, attn_v (or rows of attn_qkv) and attn_output; with the window that layer i has, and the
// rotary table of such layers.
AttentionSpec attention(const ModelConfig& config, int64_t i);
// The same, with attn_q_norm and attn_k_norm on each head.
AttentionSpec head_normed_attention(const ModelConfig& config, int64_t i);
// Whether q, k and v, and the output, must have biases.
AttentionSpec with_biases(AttentionSpec attention, bool qkv, bool output);

// down(activation(gate x) * up x): ffn_gate, ffn_up (or both as rows of ffn_up) and ffn_down.
MlpSpec gated_mlp(const ModelConfig& config, Activation activation);
// down(activation(up x)), with biases or without.
MlpSpec plain_mlp(const ModelConfig& config, Activation activation, bool has_bias);

// Branches that read the stream through attn_norm and ffn_norm.
LayerSpec pre_norm_layer(const ModelConfig& config, AttentionSpec attention, MlpSpec mlp);
// The same, with post_attention_norm and post_ffw_norm behind the bodies.
LayerSpec sandwich_layer(const ModelConfig& config, AttentionSpec attention, MlpSpec mlp);
// With those behind alone.
LayerSpec post_norm_layer(const ModelConfig& config, AttentionSpec attention, MlpSpec mlp);
// One branch: attention and MLP side by side behind attn_norm.
LayerSpec parallel_layer(const ModelConfig& config, AttentionSpec attention, MlpSpec mlp);

}  // namespace lora
