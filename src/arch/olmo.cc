// OLMo 1: as Llama, with LayerNorm without gains; some models clamp queries, keys and values.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  c.norms_have_gain = false;
  if (keys.number("attention.clamp_kqv"))
    c.attention_clamp = float(keys.positive_or("attention.clamp_kqv", 0));
}

constexpr HfModule kRoot[] = {hf::kRoot[0], hf::kRoot[2]};

constexpr HfFamily kHf = {
    .classes = {{"OlmoForCausalLM"}},
    .layer = {hf::kUnbiasedAttention, hf::kMlp},
    .root = kRoot,
    .norm_eps = "layer_norm_eps",
    .reorders_heads = true,
    .defaults = {.norm_eps = 1e-5},
    .numbers = {{"clip_qkv", "attention.clamp_kqv"}},
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kOlmo = {
    .name = "olmo",
    .models = "OLMo 1",
    .rope_style = RopeStyle::interleaved,
    .norm = NormKind::layer,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
