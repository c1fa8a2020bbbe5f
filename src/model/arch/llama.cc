// Llama 1, 2 and 3, Mistral, TinyLlama, SmolLM, OpenLLaMA: RMSNorm before attention and MLP, rotary
// pairs that lie side by side (conversion permutes q and k so), SwiGLU, grouped key/value heads.
#include "model/architecture.h"

namespace lora {

const Architecture kLlama = {
    .name = "llama",
    .rope_style = RopeStyle::interleaved,
};

}  // namespace lora
