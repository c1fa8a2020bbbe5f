// Granite 4 H: as Granite 3 with experts or without, with Mamba-2 in place of attention in most layers, and
// positions told to none.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_granite_factors(keys, c);
  read_experts(keys, c, Gating::softmax, true, Mixture::where_the_file_has_one);
  read_mamba2(keys, c);
  c.has_rope = keys.gguf.get_bool(keys.key("rope.scaling.finetuned")).value_or(true);
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer = pre_norm_layer(c, attention(c, i), mlp_or_experts(c, i, Activation::silu));
  if (c.heads_kv(i) == 0) layer[0].bodies = {mamba2(c)};
  return layer;
}

}  // namespace

extern const Architecture kGraniteHybrid = {
    .name = "granitehybrid",
    .models = "Granite 4 H, Bamba",
    .rope_style = RopeStyle::interleaved,
    .layers_differ = true,
    .read = read,
    .layer = layer,
};

}  // namespace lora
