// Qwen 3 Next: as Qwen 3.5 with experts, but for the order of value heads and what lies in one tensor.
#include "arch/delta_blocks.h"
#include "arch/hf_config.h"
#include "base/error.h"

namespace lora {
namespace {

void read_hf(HfConfig& config) {
  if (!config.flag("norm_topk_prob", true)) {
    fail("{}: norm_topk_prob: false: GGUF's qwen3next makes the experts' weights sum up to one", config.path);
  }
  read_hf_delta_net(config);
}

void read(const Keys& keys, ModelConfig& c) {
  if (keys.gguf.find_tensor("blk.0.ssm_in.weight")) {
    fail(
        "{}: tensor blk.0.ssm_in.weight: q, k, v and z in one, as the first files had it, is not supported; "
        "the model has to be converted anew",
        keys.gguf.path());
  }
  read_experts(keys, c, Gating::softmax, true);
  skip_last_layers(keys, c);
  read_delta_net(keys, c, false);
}

constexpr HfDefault kAbsent[] = {{"moe_intermediate_size", "512"},
                                 {"shared_expert_intermediate_size", "512"},
                                 {"num_experts_per_tok", "10"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "Qwen3NextForCausalLM", .has_experts = true}},
    .layer = {hf::kDeltaNorms},
    .attention = {hf::kGatedAttention},
    .recurrent = {hf::kPackedDeltaNet},
    .experts = {hf::kRouter, hf::kExperts, hf::kStackedExperts, hf::kGatedSharedExpert},
    .left_out = "mtp.",
    .head_dim = 256,
    .norms_lack_one = true,
    .computed = {.recurrent = "linear_attention", .partial_rotary = true},
    .defaults = {.n_head_kv = 2, .rotary_part = 0.25},
    .absent = kAbsent,
    .counts = {{"moe_intermediate_size", "expert_feed_forward_length"},
               {"shared_expert_intermediate_size", "expert_shared_feed_forward_length"}},
    .writes_n_rot = true,
    .read = read_hf,
    .write_keys = write_delta_net_keys,
};

}  // namespace

extern const Architecture kQwen3Next = {
    .name = "qwen3next",
    .models = "Qwen 3 Next (80B-A3B)",
    .read = read,
    .gradient_bytes =
        GradientBytes::floats,  // queries and keys that are next to nothing are made as long as one
    .layer = [](const ModelConfig& c, int64_t i) { return delta_layer(c, i, true, gated_experts(c)); },
    .hf = &kHf,
};

}  // namespace lora
