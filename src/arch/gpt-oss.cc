// gpt-oss: attention sinks, a window in every other layer, biases everywhere, experts with a clamped SwiGLU.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_window(keys, c, 2);
  read_experts(keys, c, Gating::softmax, true);
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = with_biases(attention(c, i), true, true);
  a.sinks = {"attn_sinks.weight", c.n_head};
  ExpertsSpec mlp = experts(c, Activation::silu_clamped);
  for (LinearSpec* part : {&mlp.router, &mlp.expert.gate, &mlp.expert.up, &mlp.expert.down})
    part->has_bias = true;
  LayerSpec layer = pre_norm_layer(c, std::move(a), Bodies{std::move(mlp)});
  layer[1].before = norm(c, "post_attention_norm");
  return layer;
}

}  // namespace

extern const Architecture kGptOss = {
    .name = "gpt-oss",
    .models = "gpt-oss",
    .read = read,
    .layer = layer,
};

}  // namespace lora
