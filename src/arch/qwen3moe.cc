// Qwen 3 with experts: as Qwen 3, with experts in place of the MLP.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/error.h"

namespace lora {
namespace {

// The class does without where config.json does not say.
void read_hf(HfConfig& config) {
  if (config.number("norm_topk_prob").value_or(0) == 0) {
    fail("{}: norm_topk_prob: false: GGUF's qwen3moe makes the experts' weights sum up to one", config.path);
  }
}

constexpr HfFamily kHf = {
    .classes = {{.name = "Qwen3MoeForCausalLM", .has_experts = true}},
    .layer = {hf::kTwoNorms, hf::kAttention, hf::kHeadNorms},
    .experts = {hf::kRouter, hf::kExperts, hf::kStackedExperts},
    .head_dim = 128,
    .counts = {{"moe_intermediate_size", "expert_feed_forward_length"}},
    .read = read_hf,
};

}  // namespace

extern const Architecture kQwen3Moe = {
    .name = "qwen3moe",
    .models = "Qwen 3 with experts (30B-A3B, Coder)",
    .read = [](const Keys& keys, ModelConfig& c) { read_experts(keys, c, Gating::softmax, true); },
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, head_normed_attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
    .hf = &kHf,
};

}  // namespace lora
