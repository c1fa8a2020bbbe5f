// GLM-4 (0414): norms before and behind; half of each head is turned, pairs side by side; gate and up are
// rows of one tensor.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.fused_gate_up = true;
}

}  // namespace

extern const Architecture kGlm4 = {
    .name = "glm4",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return sandwich_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
