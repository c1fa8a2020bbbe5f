// Nemotron-4, Minitron: LayerNorm with bias, squared ReLU without a gate; a part of each head is turned.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.norms_have_bias = true;
}

}  // namespace

extern const Architecture kNemotron = {
    .name = "nemotron",
    .norm = NormKind::layer,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), plain_mlp(c, Activation::relu_squared, false));
        },
};

}  // namespace lora
