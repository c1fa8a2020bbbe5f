// Qwen 1.5 and 2 with experts: as Qwen 2, with experts whose weights do not sum up to one, and a shared one
// that every token lets through as much as it wants.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  Bodies mlp = {experts(c, Activation::silu)};
  if (c.experts.n_ff_shared > 0) mlp.emplace_back(gated_shared_expert(c, Activation::silu));
  return pre_norm_layer(c, with_biases(attention(c, i), true, false), std::move(mlp));
}

constexpr HfModule kShared[] = {
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp", Dim::shared_ff, Dim::embd},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp", Dim::shared_ff, Dim::embd},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp", Dim::embd, Dim::shared_ff},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp", Dim::one, Dim::embd},
};

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "16"},
                                 {"moe_intermediate_size", "1408"},
                                 {"shared_expert_intermediate_size", "5632"},
                                 {"num_experts_per_tok", "4"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "Qwen2MoeForCausalLM", .has_experts = true}},
    .layer = {hf::kTwoNorms, hf::kAttention},
    .experts = {hf::kRouter, hf::kExperts, hf::kStackedExperts, kShared},
    .absent = kAbsent,
    .counts = {{"moe_intermediate_size", "expert_feed_forward_length"},
               {"shared_expert_intermediate_size", "expert_shared_feed_forward_length"}},
    .refused = {{"norm_topk_prob", true, "does not make the experts' weights sum up to one"}},
};

}  // namespace

extern const Architecture kQwen2Moe = {
    .name = "qwen2moe",
    .models = "Qwen 1.5 and 2 with experts",
    .read = [](const Keys& keys, ModelConfig& c) { read_experts(keys, c, Gating::softmax, false); },
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
