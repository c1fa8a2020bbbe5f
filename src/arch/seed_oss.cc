// Seed-OSS: as Qwen 2; the norm before the MLP is called post_attention_norm.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer =
      pre_norm_layer(c, with_biases(attention(c, i), true, false), gated_mlp(c, Activation::silu));
  layer[1].before = norm(c, "post_attention_norm");
  return layer;
}

constexpr HfModule kNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    {"post_attention_layernorm", "post_attention_norm", Dim::none, Dim::embd},
};

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "8"}};
constexpr HfFamily kHf = {
    .classes = {{"SeedOssForCausalLM"}},
    .layer = {kNorms, hf::kAttention, hf::kMlp},
    .head_dim = 128,
    .absent = kAbsent,
};

}  // namespace

extern const Architecture kSeedOss = {
    .name = "seed_oss",
    .models = "Seed-OSS",
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
