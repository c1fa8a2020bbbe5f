// OLMoE: queries and keys are normed over all heads together; experts whose weights do not sum up to one.
#include "arch/blocks.h"

namespace lora {

extern const Architecture kOlmoe = {
    .name = "olmoe",
    .models = "OLMoE",
    .read = [](const Keys& keys, ModelConfig& c) { read_experts(keys, c, Gating::softmax, false); },
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, row_normed_attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
};

}  // namespace lora
