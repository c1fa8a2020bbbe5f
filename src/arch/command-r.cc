// Command R (35B): LayerNorm without bias, attention and MLP side by side, logits times a factor. (Command R+
// norms heads with a gain for each: not here.)
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  c.logit_scale = float(keys.positive_or("logit_scale", 1));
}

}  // namespace

extern const Architecture kCommandR = {
    .name = "command-r",
    .rope_style = RopeStyle::interleaved,
    .norm = NormKind::layer,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return parallel_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
