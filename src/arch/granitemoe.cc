// Granite 3 with experts: as Granite, with experts in place of the MLP, and a shared one in some.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr HfDefault kAbsent[] = {{"num_experts_per_tok", "2"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "GraniteMoeForCausalLM", .has_experts = true},
                {.name = "GraniteMoeSharedForCausalLM", .has_experts = true}},
    .layer = {hf::kTwoNorms, hf::kUnbiasedAttention},
    .experts = {hf::kGraniteRouter, hf::kGraniteExperts, hf::kGraniteShared},
    .reorders_heads = true,
    .absent = kAbsent,
    .numbers = hf::kGraniteNumbers,
    .counts = {{"shared_intermediate_size", "expert_shared_feed_forward_length"}},
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kGraniteMoe = {
    .name = "granitemoe",
    .models = "Granite 3 with experts",
    .rope_style = RopeStyle::interleaved,
    .read =
        [](const Keys& keys, ModelConfig& c) {
          read_granite_factors(keys, c);
          read_experts(keys, c, Gating::softmax, true);
        },
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
    .hf = &kHf,
};

}  // namespace lora
