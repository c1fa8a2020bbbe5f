// Command R7B, Command A: as Command R; three layers with a window to one without, which is not told
// positions.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  c.logit_scale = float(keys.positive_or("logit_scale", 1));
  read_window(keys, c, 4, 4096);
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = attention(c, i);
  if (!c.has_window(i)) a.form.rope = -1;
  return parallel_layer(c, std::move(a), gated_mlp(c, Activation::silu));
}

}  // namespace

extern const Architecture kCohere2 = {
    .name = "cohere2",
    .rope_style = RopeStyle::interleaved,
    .norm = NormKind::layer,
    .read = read,
    .layer = layer,
};

}  // namespace lora
