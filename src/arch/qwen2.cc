// Qwen 1.5, 2 and 2.5: as Llama, with biases on queries, keys and values.
#include "arch/blocks.h"

namespace lora {

extern const Architecture kQwen2 = {
    .name = "qwen2",
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, with_biases(attention(c, i), true, false), gated_mlp(c, Activation::silu));
        },
};

}  // namespace lora
