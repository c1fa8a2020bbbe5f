// Ling 1 (Bailing): dense layers in front, experts and shared ones.
#include "arch/blocks.h"

namespace lora {

extern const Architecture kBailingMoe = {
    .name = "bailingmoe",
    .models = "Ling 1, as GGUF",
    .rope_style = RopeStyle::interleaved,
    .read = [](const Keys& keys, ModelConfig& c) { read_experts(keys, c, Gating::softmax, false); },
    .gradient_bytes = GradientBytes::two,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
};

}  // namespace lora
