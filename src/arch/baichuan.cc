// Baichuan 7B: as Llama (conversion takes its fused tensor apart). The 13B models have no rotary embedding,
// but a slope on scores by distance (ALiBi): they are refused.
#include "arch/blocks.h"

namespace lora {
namespace {

constexpr int64_t kLayers13B = 40;

void read(const Keys& keys, ModelConfig& c) {
  if (c.n_layer == kLayers13B)
    fail("{}: {} layers: Baichuan 13B's slopes by distance (ALiBi) are not supported", keys.gguf.path(),
         c.n_layer);
}

}  // namespace

extern const Architecture kBaichuan = {
    .name = "baichuan",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
