// ERNIE 4.5 with experts: as ERNIE 4.5, with dense layers in front, experts in every n-th layer behind them,
// chosen with a bias where the file has one, and a shared one.
#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_experts(keys, c, Gating::softmax, true);
  c.experts.period = keys.size("interleave_moe_layer_step").value_or(1);
  c.experts.has_choice_bias = has_choice_bias(keys, c);
}

}  // namespace

extern const Architecture kErnie45Moe = {
    .name = "ernie4_5-moe",
    .models = "ERNIE 4.5 with experts, as GGUF",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
};

}  // namespace lora
