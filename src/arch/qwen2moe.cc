// Qwen 1.5 and 2 with experts: as Qwen 2, with experts whose weights do not sum up to one, and a shared one
// that every token lets through as much as it wants.
#include "arch/blocks.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  Bodies mlp = {experts(c, Activation::silu)};
  if (c.experts.n_ff_shared > 0) mlp.emplace_back(gated_shared_expert(c, Activation::silu));
  return pre_norm_layer(c, with_biases(attention(c, i), true, false), std::move(mlp));
}

}  // namespace

extern const Architecture kQwen2Moe = {
    .name = "qwen2moe",
    .models = "Qwen 1.5 and 2 with experts",
    .read = [](const Keys& keys, ModelConfig& c) { read_experts(keys, c, Gating::softmax, false); },
    .layer = layer,
};

}  // namespace lora
