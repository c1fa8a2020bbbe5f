// Qwen 3 with experts: as Qwen 3, with experts in place of the MLP.
#include "arch/blocks.h"

namespace lora {

extern const Architecture kQwen3Moe = {
    .name = "qwen3moe",
    .models = "Qwen 3 with experts (30B-A3B, Coder)",
    .read = [](const Keys& keys, ModelConfig& c) { read_experts(keys, c, Gating::softmax, true); },
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, head_normed_attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
};

}  // namespace lora
