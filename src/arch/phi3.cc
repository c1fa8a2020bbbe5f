// Phi-3, 3.5, 4 and 4-mini: as Llama, with q, k and v as rows of one tensor and gate and up of another; a
// part of each head is turned, in long-context models by factors that the context chooses (LongRoPE). A
// window, where the file gives one, is on all layers, as in the models' own code.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  c.fused_qkv = c.fused_gate_up = true;
  read_window(keys, c, 0);
}

}  // namespace

extern const Architecture kPhi3 = {
    .name = "phi3",
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
