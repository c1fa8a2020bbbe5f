// gpt-oss: attention sinks, a window in every other layer, biases everywhere, experts with a clamped SwiGLU.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/error.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_window(keys, c, 2);
  read_experts(keys, c, Gating::softmax, true);
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = with_biases(attention(c, i), true, true);
  a.sinks = {"attn_sinks.weight", c.n_head};
  ExpertsSpec mlp = experts(c, Activation::silu_clamped);
  for (LinearSpec* part : {&mlp.router, &mlp.expert.gate, &mlp.expert.up, &mlp.expert.down})
    part->has_bias = true;
  LayerSpec layer = pre_norm_layer(c, std::move(a), Bodies{std::move(mlp)});
  layer[1].before = norm(c, "post_attention_norm");
  return layer;
}

constexpr HfModule kNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    {"post_attention_layernorm", "post_attention_norm", Dim::none, Dim::embd},
    {.hf = "self_attn.sinks", .gguf = "attn_sinks", .n_in = Dim::n_head, .hf_end = ""},
};
// Gate and up by turns, as numbers to be multiplied from the left, or as blocks.
constexpr auto kExperts =
    hf::stacked_experts("mlp.experts.gate_up_proj", "mlp.experts.down_proj", "", Stack::columns, true);
constexpr auto kBlocks =
    hf::stacked_experts("mlp.experts.gate_up_proj", "mlp.experts.down_proj", "", Stack::mxfp4, true);
constexpr HfModule kRouterAndBiases[] = {
    {.hf = "mlp.router",
     .gguf = "ffn_gate_inp",
     .n_out = Dim::experts,
     .n_in = Dim::embd,
     .may_have_bias = true,
     .is_router = true},
    {.hf = "mlp.experts.gate_up_proj_bias",
     .gguf = "ffn_gate_exps",
     .n_out = Dim::expert_ff,
     .of_hf = Rows::gate,
     .stack = Stack::whole,
     .in_turn = true,
     .hf_end = "",
     .gguf_end = ".bias"},
    {.hf = "mlp.experts.gate_up_proj_bias",
     .gguf = "ffn_up_exps",
     .n_out = Dim::expert_ff,
     .of_hf = Rows::up,
     .stack = Stack::whole,
     .in_turn = true,
     .hf_end = "",
     .gguf_end = ".bias"},
    {.hf = "mlp.experts.down_proj_bias",
     .gguf = "ffn_down_exps",
     .n_out = Dim::embd,
     .stack = Stack::whole,
     .hf_end = "",
     .gguf_end = ".bias"},
};

void read_hf(HfConfig& config) {
  constexpr double kLimit = 7, kAlpha = 1.702;
  for (const auto& [key, computed] : {std::pair("swiglu_limit", kLimit), std::pair("swiglu_alpha", kAlpha)}) {
    const double value = config.number(key).value_or(computed);
    if (value != computed)
      fail("{}: {}: {}: GGUF's gpt-oss computes with {}", config.path, key, value, computed);
  }
}

constexpr HfDefault kAbsent[] = {{"rope_scaling",
                                  R"({"rope_type": "yarn", "factor": 32, "beta_fast": 32, "beta_slow": 1,
                                      "truncate": false, "original_max_position_embeddings": 4096})"},
                                 {"num_experts_per_tok", "4"},
                                 {"num_key_value_heads", "8"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "GptOssForCausalLM", .window_by_default = true, .has_experts = true}},
    .layer = {kNorms, hf::kBiasedAttention},
    .experts = {kRouterAndBiases, kExperts, kBlocks},
    .head_dim = 64,
    .computed = {.window_period = 2},
    .defaults = {.sliding_window = 128, .rope_theta = 150000, .norm_eps = 1e-5},
    .absent = kAbsent,
    .counts = {{"intermediate_size", "expert_feed_forward_length"}},
    .read = read_hf,
};

}  // namespace

extern const Architecture kGptOss = {
    .name = "gpt-oss",
    .models = "gpt-oss",
    .read = read,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
