// Mistral Small 3, Ministral 3: as Llama with YaRN; queries grow with the logarithm of their position.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  c.temperature_scale = float(keys.number_or("attention.temperature_scale", 0));
  c.temperature_length = c.rope.n_ctx_orig;
}

}  // namespace

extern const Architecture kMistral3 = {
    .name = "mistral3",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
