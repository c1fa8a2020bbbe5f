// Hunyuan with experts (A13B): as the dense one, with experts and a shared one.
#include "arch/blocks.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = head_normed_attention(c, i);
  a.form.norm_after_rope = true;
  return pre_norm_layer(c, std::move(a), mlp_or_experts(c, i, Activation::silu));
}

}  // namespace

extern const Architecture kHunyuanMoe = {
    .name = "hunyuan-moe",
    .models = "Hunyuan A13B, as GGUF",
    .read = [](const Keys& keys, ModelConfig& c) { read_experts(keys, c, Gating::softmax, true); },
    .gradient_bytes = GradientBytes::two,
    .layer = layer,
};

}  // namespace lora
