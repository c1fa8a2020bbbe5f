// Hunyuan (dense): as Qwen 3, but heads are normed after they are turned.
#include "arch/blocks.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = head_normed_attention(c, i);
  a.form.norm_after_rope = true;
  return pre_norm_layer(c, std::move(a), gated_mlp(c, Activation::silu));
}

}  // namespace

extern const Architecture kHunyuanDense = {
    .name = "hunyuan-dense",
    .layer = layer,
};

}  // namespace lora
