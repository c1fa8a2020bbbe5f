// Falcon 7B: LayerNorm with bias, attention and MLP side by side, GELU without a gate, q, k and v rows of one
// tensor. (Falcon 40B norms attention and MLP apart: not here.)
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.fused_qkv = c.norms_have_bias = true;
}

}  // namespace

extern const Architecture kFalcon = {
    .name = "falcon",
    .norm = NormKind::layer,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return parallel_layer(c, attention(c, i), plain_mlp(c, Activation::gelu_tanh, false));
        },
};

}  // namespace lora
