// StableLM 3B and 2 1.6B: as Llama with LayerNorm, biases where the file has them; a part of each head is
// turned. (The 12B model norms heads with a gain for each: not here.)
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.norms_have_bias = true;
}

}  // namespace

extern const Architecture kStableLm = {
    .name = "stablelm",
    .norm = NormKind::layer,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
