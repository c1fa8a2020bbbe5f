// OLMo 1: as Llama, with LayerNorm without gains. (Models that clip queries, keys and values: not here.)
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.norms_have_gain = false;
}

constexpr HfModule kRoot[] = {hf::kRoot[0], hf::kRoot[2]};

constexpr HfFamily kHf = {
    .classes = {{"OlmoForCausalLM"}},
    .layer = {hf::kUnbiasedAttention, hf::kMlp},
    .root = kRoot,
    .norm_eps = "layer_norm_eps",
    .reorders_heads = true,
    .defaults = {.norm_eps = 1e-5},
    .refused = {{"clip_qkv", true, "is not supported where it clips queries, keys and values"}},
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
