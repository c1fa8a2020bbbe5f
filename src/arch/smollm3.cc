// SmolLM 3: as Llama; every fourth layer is not told positions.
#include "arch/blocks.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = attention(c, i);
  if ((i + 1) % 4 == 0) a.form.rope = -1;
  return pre_norm_layer(c, std::move(a), gated_mlp(c, Activation::silu));
}

}  // namespace

extern const Architecture kSmolLm3 = {
    .name = "smollm3",
    .rope_style = RopeStyle::interleaved,
    .layer = layer,
};

}  // namespace lora
