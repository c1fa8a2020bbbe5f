// GLM-4.5, 4.6 and 4.5 Air: norms of heads where the file has them, part of a head turned, a dense first
// layer, experts chosen by a sigmoid and a bias that does not weigh them, and a shared one.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_experts(keys, c, Gating::sigmoid, false);
  c.experts.has_choice_bias = true;
  skip_last_layers(keys, c);
  c.has_head_norms = keys.gguf.find_tensor("blk.0.attn_q_norm.weight") != nullptr;
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = c.has_head_norms ? head_normed_attention(c, i) : attention(c, i);
  LayerSpec layer =
      pre_norm_layer(c, with_biases(std::move(a), true, false), mlp_or_experts(c, i, Activation::silu));
  layer[1].before = norm(c, "post_attention_norm");
  return layer;
}

}  // namespace

extern const Architecture kGlm4Moe = {
    .name = "glm4moe",
    .models = "GLM-4.5, 4.6 and 4.5 Air",
    .read = read,
    .layer = layer,
};

}  // namespace lora
