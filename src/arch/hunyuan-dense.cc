// Hunyuan (dense): as Qwen 3, but heads are normed after they are turned.

#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/elementary.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = head_normed_attention(c, i);
  a.form.norm_after_rope = true;
  return pre_norm_layer(c, std::move(a), gated_mlp(c, Activation::silu));
}

constexpr HfModule kHeadNorms[] = {
    {"self_attn.query_layernorm", "attn_q_norm", Dim::none, Dim::head},
    {"self_attn.key_layernorm", "attn_k_norm", Dim::none, Dim::head},
};

// A "dynamic" scaling with alpha is another base for all lengths.
void read_hf(HfConfig& config) {
  const auto alpha = config.number("rope.alpha");
  if (config.rope.type != "dynamic" || !alpha || *alpha <= 0) return;
  config.rope.theta *= elementary::pow(*alpha, double(config.head_dim) / double(config.head_dim - 2));
  config.rope.type = "default";
}

constexpr HfFamily kHf = {
    .classes = {{"HunYuanDenseV1ForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kAttention, kHeadNorms, hf::kMlp},
    .defaults = {.norm_eps = 1e-5},
    .refused = {{"use_cla", true, "has keys and values in every layer"}},
    .read = read_hf,
};

}  // namespace

extern const Architecture kHunyuanDense = {
    .name = "hunyuan-dense",
    .models = "Hunyuan (dense)",
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
