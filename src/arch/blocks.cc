#include "arch/blocks.h"

namespace lora {

NormSpec norm(const ModelConfig& c, std::string_view tensor, int64_t n) {
  return {.tensor = tensor, .kind = c.architecture->norm, .n = n > 0 ? n : c.n_embd};
}

AttentionSpec attention(const ModelConfig& c, int64_t i) {
  const bool has_window = c.has_window(i);
  AttentionSpec a{
      .q = {"attn_q", c.n_embd_q(), c.n_embd},
      .k = {"attn_k", c.n_embd_kv(), c.n_embd},
      .v = {"attn_v", c.n_embd_kv(), c.n_embd},
      .o = {"attn_output", c.n_embd, c.n_embd_q()},
      .q_norm = {},
      .k_norm = {},
      .form = {},
  };
  a.form.shape = {c.n_head, c.n_head_kv, c.head_dim, c.attention_scale};
  a.form.rope_style = c.architecture->rope_style;
  a.form.rope = has_window && c.rope_swa ? 1 : 0;
  a.form.temperature_scale = c.temperature_scale;
  a.form.temperature_length = c.temperature_length;
  return a;
}

MlpSpec gated_mlp(const ModelConfig& c, Activation activation) {
  return {
      .gate = {"ffn_gate", c.n_ff, c.n_embd},
      .up = {"ffn_up", c.n_ff, c.n_embd},
      .down = {"ffn_down", c.n_embd, c.n_ff},
      .activation = activation,
  };
}

LayerSpec pre_norm_layer(const ModelConfig& c, AttentionSpec attention, MlpSpec mlp) {
  return {
      {.before = norm(c, "attn_norm"), .bodies = {std::move(attention)}, .scale = c.residual_scale},
      {.before = norm(c, "ffn_norm"), .bodies = {std::move(mlp)}, .scale = c.residual_scale},
  };
}

}  // namespace lora
