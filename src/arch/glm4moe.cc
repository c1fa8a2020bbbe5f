// GLM-4.5, 4.6 and 4.5 Air: norms of heads where the file has them, part of a head turned, a dense first
// layer, experts chosen by a sigmoid and a bias that does not weigh them, and a shared one.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_experts(keys, c, Gating::sigmoid, false);
  c.experts.has_choice_bias = true;
  skip_last_layers(keys, c);
  c.has_head_norms = keys.gguf.find_tensor("blk.0.attn_q_norm.weight") != nullptr;
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = c.has_head_norms ? head_normed_attention(c, i) : attention(c, i);
  LayerSpec layer =
      pre_norm_layer(c, with_biases(std::move(a), true, false), mlp_or_experts(c, i, Activation::silu));
  layer[1].before = norm(c, "post_attention_norm");
  return layer;
}

constexpr HfModule kNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    {"post_attention_layernorm", "post_attention_norm", Dim::none, Dim::embd},
    {.hf = "self_attn.q_norm", .gguf = "attn_q_norm", .n_in = Dim::head, .may_be_absent = true},
    {.hf = "self_attn.k_norm", .gguf = "attn_k_norm", .n_in = Dim::head, .may_be_absent = true},
};
constexpr auto kRouterAndShared = hf::router_and_shared_experts();

void write_keys(GgufWriter& writer, const HfConfig& config) {
  constexpr uint32_t kSigmoid = 2;
  writer.set_u32("glm4moe.expert_gating_func", kSigmoid);
  writer.set_bool("glm4moe.expert_weights_norm", config.flag("norm_topk_prob", true));
}

constexpr HfDefault kAbsent[] = {{"moe_intermediate_size", "1408"},
                                 {"n_shared_experts", "1"},
                                 {"num_experts_per_tok", "8"},
                                 {"num_key_value_heads", "8"},
                                 {"first_k_dense_replace", "1"},
                                 {"n_group", "1"},
                                 {"topk_group", "1"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "Glm4MoeForCausalLM", .has_experts = true}},
    .layer = {kNorms, hf::kAttention},
    .dense = {hf::kMlp},
    .experts = {kRouterAndShared, hf::kExperts, hf::kStackedExperts},
    .ahead = hf::kAhead,
    .head_dim = 128,
    .computed = {.partial_rotary = true},
    .defaults = {.rotary_part = 0.5, .norm_eps = 1e-5},
    .absent = kAbsent,
    .numbers = {{"routed_scaling_factor", "expert_weights_scale", 1}},
    .counts = {{"moe_intermediate_size", "expert_feed_forward_length"},
               {"n_shared_experts", "expert_shared_count"},
               {"first_k_dense_replace", "leading_dense_block_count"},
               {"n_group", "expert_group_count"},
               {"topk_group", "expert_group_used_count"}},
    .writes_n_rot = true,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kGlm4Moe = {
    .name = "glm4moe",
    .models = "GLM-4.5, 4.6 and 4.5 Air",
    .read = read,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
