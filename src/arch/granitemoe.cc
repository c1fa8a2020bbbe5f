// Granite 3 with experts: as Granite, with experts in place of the MLP, and a shared one in some.
#include "arch/blocks.h"

namespace lora {

extern const Architecture kGraniteMoe = {
    .name = "granitemoe",
    .models = "Granite 3 with experts",
    .rope_style = RopeStyle::interleaved,
    .read =
        [](const Keys& keys, ModelConfig& c) {
          read_granite_factors(keys, c);
          read_experts(keys, c, Gating::softmax, true);
        },
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
};

}  // namespace lora
