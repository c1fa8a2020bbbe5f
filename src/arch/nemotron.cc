// Nemotron-4, Minitron: LayerNorm with bias, squared ReLU without a gate; a part of each head is turned.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.norms_have_bias = true;
}

void read_hf(HfConfig& config) {
  for (const char* key : {"partial_rotary_percent", "rope_percent", "rope_pct"}) {
    if (const auto part = config.number(key)) config.rotary_part = *part;
  }
}

constexpr HfFamily kHf = {
    .classes = {{"NemotronForCausalLM"}},
    .layer = {hf::kBiasedTwoNorms, hf::kBiasedAttention, hf::kBiasedPlainMlp},
    .root = hf::kBiasedRoot,
    .norm_eps = "norm_eps",
    .norms_lack_one = true,
    .computed = {.activation = "relu2", .partial_rotary = true},
    .defaults = {.rotary_part = 0.5, .norm_eps = 1e-5},
    .writes_n_rot = true,
    .read = read_hf,
};

}  // namespace

extern const Architecture kNemotron = {
    .name = "nemotron",
    .norm = NormKind::layer,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), plain_mlp(c, Activation::relu_squared, false));
        },
    .hf = &kHf,
};

}  // namespace lora
