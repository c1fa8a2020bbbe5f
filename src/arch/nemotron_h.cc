// Nemotron-H: each layer is one of Mamba-2, attention without positions, and an MLP with squared ReLU.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer = {{.before = norm(c, "attn_norm"), .bodies = {}}};
  if (c.ff(i) > 0) {
    layer[0].bodies.emplace_back(plain_mlp(c, Activation::relu_squared, false));
  } else if (c.heads_kv(i) > 0) {
    layer[0].bodies.emplace_back(attention(c, i));
  } else {
    layer[0].bodies.emplace_back(mamba2(c));
  }
  return layer;
}

}  // namespace

extern const Architecture kNemotronH = {
    .name = "nemotron_h",
    .models = "Nemotron-H, Nemotron Nano 2",
    .layers_differ = true,
    .read =
        [](const Keys& keys, ModelConfig& c) {
          read_mamba2(keys, c);
          c.has_rope = false;
        },
    .layer = layer,
};

}  // namespace lora
