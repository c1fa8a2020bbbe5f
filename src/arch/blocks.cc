#include "arch/blocks.h"

namespace lora {

NormSpec norm(const ModelConfig& c, std::string_view tensor, int64_t n) {
  return {.tensor = c.norms_have_gain ? tensor : "",
          .kind = c.architecture->norm,
          .n = n > 0 ? n : c.n_embd,
          .has_bias = c.norms_have_bias};
}

AttentionSpec attention(const ModelConfig& c, int64_t i) {
  const int64_t head_dim = c.head_dim_of(i), n_q = c.heads(i) * head_dim, n_kv = c.heads_kv(i) * head_dim;
  const bool fused = c.fused_qkv, has_window = c.has_window(i);
  AttentionSpec a{
      .q = {.tensor = fused ? "attn_qkv" : "attn_q", .n_out = n_q, .n_in = c.n_embd},
      .k = {.tensor = fused ? "attn_qkv" : "attn_k",
            .n_out = n_kv,
            .n_in = c.n_embd,
            .first_row = fused ? n_q : 0},
      .v = {.tensor = fused ? "attn_qkv" : "attn_v",
            .n_out = n_kv,
            .n_in = c.n_embd,
            .first_row = fused ? n_q + n_kv : 0},
      .o = {.tensor = "attn_output", .n_out = c.n_embd, .n_in = n_q},
      .q_norm = {},
      .k_norm = {},
      .form = {},
  };
  a.form.shape = {c.heads(i), c.heads_kv(i), head_dim, c.attention_scale};
  a.form.shape.window = has_window ? c.window : 0;
  a.form.shape.softcap = c.attention_softcap;
  a.form.rope_style = c.architecture->rope_style;
  a.form.rope = !c.has_rope ? -1 : has_window && c.rope_swa ? 1 : 0;
  a.form.clamp = c.attention_clamp;
  a.form.temperature_scale = c.temperature_scale;
  a.form.temperature_length = c.temperature_length;
  return a;
}

AttentionSpec head_normed_attention(const ModelConfig& c, int64_t i) {
  AttentionSpec a = attention(c, i);
  a.q_norm = norm(c, "attn_q_norm", c.head_dim_of(i));
  a.k_norm = norm(c, "attn_k_norm", c.head_dim_of(i));
  return a;
}

AttentionSpec row_normed_attention(const ModelConfig& c, int64_t i) {
  AttentionSpec a = attention(c, i);
  a.q_norm = norm(c, "attn_q_norm", a.q.n_out);
  a.k_norm = norm(c, "attn_k_norm", a.k.n_out);
  return a;
}

AttentionSpec with_biases(AttentionSpec a, bool qkv, bool output) {
  a.q.has_bias = a.k.has_bias = a.v.has_bias = qkv;
  a.o.has_bias = output;
  return a;
}

MlpSpec gated_mlp(const ModelConfig& c, Activation activation, int64_t n_ff) {
  const bool fused = c.fused_gate_up;
  if (n_ff == 0) n_ff = c.n_ff;
  return {
      .gate = {.tensor = fused ? "ffn_up" : "ffn_gate", .n_out = n_ff, .n_in = c.n_embd},
      .up = {.tensor = "ffn_up", .n_out = n_ff, .n_in = c.n_embd, .first_row = fused ? n_ff : 0},
      .down = {.tensor = "ffn_down", .n_out = c.n_embd, .n_in = n_ff},
      .activation = activation,
  };
}

MlpSpec plain_mlp(const ModelConfig& c, Activation activation, bool has_bias, int64_t n_ff) {
  if (n_ff == 0) n_ff = c.n_ff;
  return {
      .gate = {},
      .up = {.tensor = "ffn_up", .n_out = n_ff, .n_in = c.n_embd, .has_bias = has_bias},
      .down = {.tensor = "ffn_down", .n_out = c.n_embd, .n_in = n_ff, .has_bias = has_bias},
      .activation = activation,
  };
}

ExpertsSpec experts(const ModelConfig& c, Activation activation) {
  const int64_t n = c.experts.router.n_expert, n_ff = c.experts.n_ff;
  const bool fused = c.experts.fused_gate_up;
  return {
      .router = {.tensor = "ffn_gate_inp", .n_out = n, .n_in = c.n_embd},
      .choice_bias = {c.experts.has_choice_bias ? "exp_probs_b.bias" : "", n},
      .expert = {.gate = {.tensor = fused ? "ffn_gate_up_exps" : "ffn_gate_exps",
                          .n_out = n_ff,
                          .n_in = c.n_embd,
                          .n_slices = n},
                 .up = {.tensor = fused ? "ffn_gate_up_exps" : "ffn_up_exps",
                        .n_out = n_ff,
                        .n_in = c.n_embd,
                        .first_row = fused ? n_ff : 0,
                        .n_slices = n},
                 .down = {.tensor = "ffn_down_exps", .n_out = c.n_embd, .n_in = n_ff, .n_slices = n},
                 .activation = activation},
      .form = c.experts.router,
  };
}

MlpSpec shared_expert(const ModelConfig& c, Activation activation) {
  const int64_t n_ff = c.experts.n_ff_shared;
  return {
      .gate = {.tensor = "ffn_gate_shexp", .n_out = n_ff, .n_in = c.n_embd},
      .up = {.tensor = "ffn_up_shexp", .n_out = n_ff, .n_in = c.n_embd},
      .down = {.tensor = "ffn_down_shexp", .n_out = c.n_embd, .n_in = n_ff},
      .activation = activation,
  };
}

ExpertsSpec gated_shared_expert(const ModelConfig& c, Activation activation) {
  return {
      .router = {.tensor = "ffn_gate_inp_shexp", .n_out = 1, .n_in = c.n_embd},
      .choice_bias = {},
      .expert = shared_expert(c, activation),
      .form = {.n_expert = 1, .n_used = 1, .gating = Gating::sigmoid},
  };
}

Bodies mlp_or_experts(const ModelConfig& c, int64_t i, Activation activation) {
  const bool is_dense = i < c.experts.n_layer_dense || (i + 1) % c.experts.period != 0;
  if (c.experts.router.n_expert == 0 || is_dense) return {gated_mlp(c, activation, c.ff(i))};
  Bodies bodies = {experts(c, activation)};
  if (c.experts.n_ff_shared > 0) bodies.emplace_back(shared_expert(c, activation));
  return bodies;
}

Mamba2Spec mamba2(const ModelConfig& c) {
  const SsmConfig& s = c.ssm;
  const int64_t n_conv = s.n_inner + 2 * s.n_group * s.n_state;
  return {
      .z = {.tensor = "ssm_in", .n_out = s.n_inner, .n_in = c.n_embd},
      .u = {.tensor = "ssm_in", .n_out = n_conv, .n_in = c.n_embd, .first_row = s.n_inner},
      .dt = {.tensor = "ssm_in", .n_out = s.n_head, .n_in = c.n_embd, .first_row = s.n_inner + n_conv},
      .out = {.tensor = "ssm_out", .n_out = c.n_embd, .n_in = s.n_inner},
      .conv = {"ssm_conv1d.weight", s.d_conv, n_conv},
      .conv_bias = {"ssm_conv1d.bias", n_conv, 1, true},
      .dt_bias = {"ssm_dt.bias", s.n_head},
      .a = {.tensor = "ssm_a", .n = 1, .n_rows = s.n_head, .fades = true},
      .d = {"ssm_d", 1, s.n_head},
      .norm = {"ssm_norm.weight", s.n_inner / s.n_group, s.n_group},
      .d_conv = s.d_conv,
      .shape = {s.n_head, s.n_inner / s.n_head, s.n_group, s.n_state},
  };
}

void read_granite_factors(const Keys& keys, ModelConfig& c) {
  c.attention_scale = float(keys.positive_or("attention.scale", double(c.attention_scale)));
  c.embedding_scale = float(keys.positive_or("embedding_scale", 1));
  c.residual_scale = float(keys.positive_or("residual_scale", 1));
  c.logit_scale = float(1 / keys.positive_or("logit_scale", 1));
}

LayerSpec pre_norm_layer(const ModelConfig& c, AttentionSpec attention, Bodies mlp) {
  return {
      {.before = norm(c, "attn_norm"), .bodies = {std::move(attention)}, .scale = c.residual_scale},
      {.before = norm(c, "ffn_norm"), .bodies = std::move(mlp), .scale = c.residual_scale},
  };
}

LayerSpec pre_norm_layer(const ModelConfig& c, AttentionSpec attention, MlpSpec mlp) {
  return pre_norm_layer(c, std::move(attention), Bodies{std::move(mlp)});
}

LayerSpec sandwich_layer(const ModelConfig& c, AttentionSpec attention, MlpSpec mlp) {
  LayerSpec layer = pre_norm_layer(c, std::move(attention), std::move(mlp));
  layer[0].after = norm(c, "post_attention_norm");
  layer[1].after = norm(c, "post_ffw_norm");
  return layer;
}

LayerSpec post_norm_layer(const ModelConfig& c, AttentionSpec attention, MlpSpec mlp) {
  LayerSpec layer = sandwich_layer(c, std::move(attention), std::move(mlp));
  for (BranchSpec& branch : layer) branch.before = {};
  return layer;
}

LayerSpec parallel_layer(const ModelConfig& c, AttentionSpec attention, MlpSpec mlp) {
  return {{.before = norm(c, "attn_norm"),
           .bodies = {std::move(attention), std::move(mlp)},
           .scale = c.residual_scale}};
}

}  // namespace lora
