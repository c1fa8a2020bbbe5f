// Qwen 3.5 and 3.6 with experts: as Qwen 3.5, with experts in place of the MLP, and a shared one that every
// token lets through as much as it wants.
#include "arch/delta_blocks.h"

namespace lora {
namespace {

constexpr HfDefault kAbsent[] = {{"moe_intermediate_size", "512"},
                                 {"shared_expert_intermediate_size", "512"},
                                 {"num_experts_per_tok", "8"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "Qwen3_5MoeForCausalLM", .has_experts = true},
                {.name = "Qwen3_5MoeForConditionalGeneration",
                 .model_type = "qwen3_5_moe_text",
                 .has_experts = true}},
    .layer = {hf::kDeltaNorms},
    .attention = {hf::kGatedAttention},
    .recurrent = {hf::kDeltaNet},
    .experts = {hf::kRouter, hf::kExperts, hf::kStackedExperts, hf::kGatedSharedExpert},
    .ahead = hf::kDeltaAhead,
    .ahead_prefix = "mtp.",
    .head_dim = 256,
    .norms_lack_one = true,
    .computed = {.recurrent = "linear_attention", .partial_rotary = true},
    .defaults = {.n_head_kv = 2, .rotary_part = 0.25},
    .absent = kAbsent,
    .counts = {{"moe_intermediate_size", "expert_feed_forward_length"},
               {"shared_expert_intermediate_size", "expert_shared_feed_forward_length"}},
    .writes_n_rot = true,
    .read = read_hf_delta_net,
    .write_keys = write_delta_net_and_section_keys,
};

}  // namespace

extern const Architecture kQwen35Moe = {
    .name = "qwen35moe",
    .models = "Qwen 3.5 and 3.6 with experts (35B-A3B, 122B-A10B, 397B-A17B)",
    .layers_differ = true,  // no length of a dense MLP
    .read =
        [](const Keys& keys, ModelConfig& c) {
          read_experts(keys, c, Gating::softmax, true);
          skip_last_layers(keys, c);
          read_delta_net(keys, c, true);
        },
    .layer = [](const ModelConfig& c, int64_t i) { return delta_layer(c, i, false, gated_experts(c)); },
    .hf = &kHf,
};

}  // namespace lora
