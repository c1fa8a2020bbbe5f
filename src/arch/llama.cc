// Llama 1, 2 and 3, Mistral, TinyLlama, SmolLM, OpenLLaMA: RMSNorm before attention and MLP, rotary
// pairs that lie side by side (conversion permutes q and k so), SwiGLU, grouped key/value heads.
#include "arch/blocks.h"

namespace lora {

extern const Architecture kLlama = {
    .name = "llama",
    .rope_style = RopeStyle::interleaved,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
