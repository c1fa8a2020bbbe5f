// dots.llm1: norms of heads, dense layers in front, experts chosen by a sigmoid and a bias, and shared ones.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_experts(keys, c, Gating::sigmoid, false);
  c.experts.has_choice_bias = has_choice_bias(keys, c);
}

}  // namespace

extern const Architecture kDots1 = {
    .name = "dots1",
    .models = "dots.llm1, as GGUF",
    .read = read,
    .gradient_bytes = GradientBytes::two,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, head_normed_attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
};

}  // namespace lora
