// Arcee AFM: as Llama, with squared ReLU without a gate.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr HfFamily kHf = {
    .classes = {{"ArceeForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kUnbiasedAttention, hf::kPlainMlp},
    .reorders_heads = true,
    .computed = {.activation = "relu2"},
    .defaults = {.norm_eps = 1e-5},
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kArcee = {
    .name = "arcee",
    .models = "Arcee AFM 4.5B",
    .rope_style = RopeStyle::interleaved,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), plain_mlp(c, Activation::relu_squared, false));
        },
    .hf = &kHf,
};

}  // namespace lora
