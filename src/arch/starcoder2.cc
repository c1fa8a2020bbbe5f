// StarCoder 2: LayerNorm with bias, biases everywhere, GELU without a gate.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.norms_have_bias = true;
}

}  // namespace

extern const Architecture kStarCoder2 = {
    .name = "starcoder2",
    .norm = NormKind::layer,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, with_biases(attention(c, i), true, true),
                                plain_mlp(c, Activation::gelu_tanh, true));
        },
};

}  // namespace lora
