// Seed-OSS: as Qwen 2; the norm before the MLP is called post_attention_norm.
#include "arch/blocks.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer =
      pre_norm_layer(c, with_biases(attention(c, i), true, false), gated_mlp(c, Activation::silu));
  layer[1].before = norm(c, "post_attention_norm");
  return layer;
}

}  // namespace

extern const Architecture kSeedOss = {
    .name = "seed_oss",
    .layer = layer,
};

}  // namespace lora
