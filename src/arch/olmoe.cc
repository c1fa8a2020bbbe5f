// OLMoE: queries and keys are normed over all heads together; experts whose weights do not sum up to one.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr HfDefault kAbsent[] = {{"num_experts_per_tok", "8"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "OlmoeForCausalLM", .has_experts = true}},
    .layer = {hf::kTwoNorms, hf::kUnbiasedAttention, hf::kRowNorms},
    .experts = {hf::kRouter, hf::kExperts, hf::kStackedExperts},
    .defaults = {.norm_eps = 1e-5},
    .absent = kAbsent,
    .refused = {{"norm_topk_prob", true, "does not make the experts' weights sum up to one"},
                {"clip_qkv", true, "does not clip queries, keys and values"}},
};

}  // namespace

extern const Architecture kOlmoe = {
    .name = "olmoe",
    .models = "OLMoE",
    .read = [](const Keys& keys, ModelConfig& c) { read_experts(keys, c, Gating::softmax, false); },
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, row_normed_attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
    .hf = &kHf,
};

}  // namespace lora
