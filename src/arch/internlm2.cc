// InternLM 2 and 2.5: as Llama (conversion takes its fused tensor apart).
#include "arch/blocks.h"

namespace lora {

extern const Architecture kInternLm2 = {
    .name = "internlm2",
    .rope_style = RopeStyle::interleaved,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
