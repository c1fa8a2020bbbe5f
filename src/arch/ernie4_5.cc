// ERNIE 4.5 (dense): as Llama.
#include "arch/blocks.h"

namespace lora {

extern const Architecture kErnie45 = {
    .name = "ernie4_5",
    .rope_style = RopeStyle::interleaved,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
