// Qwen 3 with experts: as Qwen 3, with experts in place of the MLP.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/error.h"

namespace lora {
namespace {

// The class does without where config.json does not say.
void read_hf(HfConfig& config) {
  if (!config.flag("norm_topk_prob", false)) {
    fail("{}: norm_topk_prob: false: GGUF's qwen3moe makes the experts' weights sum up to one", config.path);
  }
}

constexpr HfDefault kAbsent[] = {
    {"moe_intermediate_size", "768"}, {"num_experts_per_tok", "8"}, {"num_key_value_heads", "4"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "Qwen3MoeForCausalLM", .has_experts = true}},
    .layer = {hf::kTwoNorms, hf::kAttention, hf::kHeadNorms},
    .experts = {hf::kRouter, hf::kExperts, hf::kStackedExperts},
    .head_dim = 128,
    .absent = kAbsent,
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
