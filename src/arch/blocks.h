// The pieces that most families' layers are put together from, with GGUF's usual names of tensors. What a
// family has otherwise, its file changes in what these return.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

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
// The same, with those over all heads of a row together.
AttentionSpec row_normed_attention(const ModelConfig& config, int64_t i);
// Whether q, k and v, and the output, must have biases.
AttentionSpec with_biases(AttentionSpec attention, bool qkv, bool output);

// down(activation(gate x) * up x): ffn_gate, ffn_up (or both as rows of ffn_up) and ffn_down, n_ff wide or as
// all layers are.
MlpSpec gated_mlp(const ModelConfig& config, Activation activation, int64_t n_ff = 0);
// down(activation(up x)), with biases or without.
MlpSpec plain_mlp(const ModelConfig& config, Activation activation, bool has_bias, int64_t n_ff = 0);

// A mixture: ffn_gate_inp chooses among the experts of ffn_gate_exps, ffn_up_exps and ffn_down_exps.
ExpertsSpec experts(const ModelConfig& config, Activation activation);
// What every token goes through beside them: ffn_gate_shexp, ffn_up_shexp and ffn_down_shexp; and the same as
// much as ffn_gate_inp_shexp lets it, which is a mixture of one.
MlpSpec shared_expert(const ModelConfig& config, Activation activation);
ExpertsSpec gated_shared_expert(const ModelConfig& config, Activation activation);
// One MLP, or in layers of a mixture the experts and what is shared.
using Bodies = std::vector<BodySpec>;
Bodies mlp_or_experts(const ModelConfig& config, int64_t i, Activation activation);

// ssm_in, ssm_conv1d, ssm_dt, ssm_a, ssm_d, ssm_norm and ssm_out.
Mamba2Spec mamba2(const ModelConfig& config);

// Factors on scores, embeddings, residual branches and logits, as Granite's files have them.
void read_granite_factors(const Keys& keys, ModelConfig& config);

// Branches that read the stream through attn_norm and ffn_norm.
LayerSpec pre_norm_layer(const ModelConfig& config, AttentionSpec attention, Bodies mlp);
LayerSpec pre_norm_layer(const ModelConfig& config, AttentionSpec attention, MlpSpec mlp);
// The same, with post_attention_norm and post_ffw_norm behind the bodies.
LayerSpec sandwich_layer(const ModelConfig& config, AttentionSpec attention, MlpSpec mlp);
// With those behind alone.
LayerSpec post_norm_layer(const ModelConfig& config, AttentionSpec attention, MlpSpec mlp);
// One branch: attention and MLP side by side behind attn_norm.
LayerSpec parallel_layer(const ModelConfig& config, AttentionSpec attention, MlpSpec mlp);

}  // namespace lora
