// Phi-1, 1.5 and 2: LayerNorm with bias, biases everywhere, attention and MLP side by side, GELU without a
// gate; a part of each head is turned.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.norms_have_bias = true;
}

}  // namespace

extern const Architecture kPhi2 = {
    .name = "phi2",
    .norm = NormKind::layer,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return parallel_layer(c, with_biases(attention(c, i), true, true),
                                plain_mlp(c, Activation::gelu_tanh, true));
        },
};

}  // namespace lora
