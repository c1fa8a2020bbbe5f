// StarCoder 2: LayerNorm with bias, biases everywhere, GELU without a gate.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.norms_have_bias = true;
}

constexpr HfModule kMlp[] = {
    {"mlp.c_fc", "ffn_up", Dim::ff, Dim::embd, RowOrder::as_is, true},
    {"mlp.c_proj", "ffn_down", Dim::embd, Dim::ff, RowOrder::as_is, true},
};

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "2"}};
constexpr HfFamily kHf = {
    .classes = {{"Starcoder2ForCausalLM", true}},
    .layer = {hf::kBiasedTwoNorms, hf::kBiasedAttention, kMlp},
    .root = hf::kBiasedRoot,
    .norm_eps = "norm_epsilon",
    .tied_by_default = true,
    .computed = {.activation = "gelu_pytorch_tanh"},
    .defaults = {.norm_eps = 1e-5},
    .absent = kAbsent,
    .refused = {{"use_bias", false, "has biases"}},
};

}  // namespace

extern const Architecture kStarCoder2 = {
    .name = "starcoder2",
    .models = "StarCoder 2",
    .norm = NormKind::layer,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, with_biases(attention(c, i), true, true),
                                plain_mlp(c, Activation::gelu_tanh, true));
        },
    .hf = &kHf,
};

}  // namespace lora
