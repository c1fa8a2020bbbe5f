// DeepSeek V2, V2-Lite and V3, Kimi K2, GLM-4.7-Flash: attention over latents (nn/latent_attention.h), dense
// layers in front, routed experts and shared ones.
//
// Files of today have attn_k_b and attn_v_b and say how large heads are in attention.*_length_mla; in older
// ones both are rows of attn_kv_b and attention.*_length are those of heads.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/elementary.h"
#include "base/error.h"
#include "base/printable.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

// As llama.cpp's: of files with rope.scaling.yarn_log_multiplier, 0.1 mscale_all_dim here, cos and sin are as
// they are, and scores are multiplied by (1 + 0.1 mscale_all_dim ln(factor))^2; of others by
// (1 + 0.1 ln(factor))^2, and cos and sin by its root.
void read_yarn(ModelConfig& c) {
  RopeParameters& rope = c.rope;
  if (!rope.yarn || rope.yarn_ext_factor == 0) return;
  const double log_factor = 0.1 * elementary::log(1 / rope.freq_scale), all = rope.yarn_log_multiplier / 0.1;
  const double turned = rope.yarn_attn_factor * (all != 0 ? 1 : 1 + log_factor);
  const double magnitude = turned * (1 + all * log_factor);
  rope.yarn_log_multiplier = all != 0 ? 1 : 0;
  c.attention_scale *= float(magnitude * magnitude);
}

void read(const Keys& keys, ModelConfig& c) {
  LatentConfig& latent = c.latent;
  latent.q_rank = keys.size("attention.q_lora_rank").value_or(0);
  latent.kv_rank = keys.required_size("attention.kv_lora_rank");
  const auto key_dim = keys.size("attention.key_length_mla"),
             value_dim = keys.size("attention.value_length_mla");
  if (key_dim.has_value() != value_dim.has_value()) {
    fail("{}: {}: missing beside the other", keys.gguf.path(),
         keys.key(key_dim ? "attention.value_length_mla" : "attention.key_length_mla"));
  }
  latent.is_apart = key_dim.has_value();
  c.head_dim = key_dim.value_or(c.head_dim);
  latent.value_dim = value_dim.value_or(keys.size("attention.value_length").value_or(c.head_dim));
  c.n_head_kv = c.n_head;
  if (c.rope.n_rot >= c.head_dim) keys.makes_no_sense("rope.dimension_count", c.rope.n_rot);
  c.attention_scale = float(1 / std::sqrt(double(c.head_dim)));
  read_yarn(c);
  skip_last_layers(keys, c);
  // GLM-4.7-Flash, whose first files do not say it.
  const bool is_glm = (c.n_layer == 47 || c.n_layer == 48) && c.n_vocab == 154880;
  read_experts(keys, c, is_glm ? Gating::sigmoid : Gating::softmax, false, Mixture::where_the_file_has_one);
  RouterForm& router = c.experts.router;
  router.n_best_of_group = router.gating == Gating::softmax ? 1 : 2;  // V2; V3
  c.experts.has_choice_bias = has_choice_bias(keys, c);
}

LatentAttentionSpec latent_attention(const ModelConfig& c) {
  const LatentConfig& l = c.latent;
  const int64_t n_rope = c.rope.n_rot, n_nope = c.head_dim - n_rope;
  LatentAttentionSpec a;
  if (l.q_rank > 0) {
    a.q_a = {.tensor = "attn_q_a", .n_out = l.q_rank, .n_in = c.n_embd};
    a.q_norm = norm(c, "attn_q_a_norm", l.q_rank);
  }
  a.q = {.tensor = l.q_rank > 0 ? "attn_q_b" : "attn_q",
         .n_out = c.n_head * c.head_dim,
         .n_in = l.q_rank > 0 ? l.q_rank : c.n_embd};
  a.kv_a = {.tensor = "attn_kv_a_mqa", .n_out = l.kv_rank + n_rope, .n_in = c.n_embd};
  a.kv_norm = norm(c, "attn_kv_a_norm", l.kv_rank);
  a.kv_b = {.tensor = "attn_kv_b", .n_out = c.n_head * (n_nope + l.value_dim), .n_in = l.kv_rank};
  if (l.is_apart) {
    a.k_b = {.tensor = "attn_k_b", .n_out = l.kv_rank, .n_in = n_nope, .n_slices = c.n_head};
    a.v_b = {.tensor = "attn_v_b", .n_out = l.value_dim, .n_in = l.kv_rank, .n_slices = c.n_head};
  }
  a.o = {.tensor = "attn_output", .n_out = c.n_embd, .n_in = c.n_head * l.value_dim};
  a.form = {.n_head = c.n_head,
            .n_nope = n_nope,
            .n_rope = n_rope,
            .v_dim = l.value_dim,
            .kv_rank = l.kv_rank,
            .scale = c.attention_scale,
            .rope_style = c.architecture->rope_style,
            .rope = 0};
  return a;
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  return {
      {.before = norm(c, "attn_norm"), .bodies = {latent_attention(c)}},
      {.before = norm(c, "ffn_norm"), .bodies = mlp_or_experts(c, i, Activation::silu)},
  };
}

constexpr std::string_view kV2 = "DeepseekV2ForCausalLM";

bool is_v2(const HfConfig& config) {
  return config.hf_class->name == kV2;
}
bool has_no_choice_bias(const HfConfig& config, int64_t) {
  return is_v2(config);
}
bool has_queries_of_low_rank(const HfConfig& config, int64_t) {
  return config.n_q_rank > 0;
}

constexpr HfModule kLatent[] = {
    {"self_attn.q_a_proj", "attn_q_a", Dim::q_rank, Dim::embd},
    {.hf = "self_attn.q_a_layernorm", .gguf = "attn_q_a_norm", .n_in = Dim::q_rank},
    {"self_attn.q_b_proj", "attn_q_b", Dim::heads, Dim::q_rank},
    {.hf = "self_attn.q_proj",
     .gguf = "attn_q",
     .n_out = Dim::heads,
     .n_in = Dim::embd,
     .may_be_absent_in = has_queries_of_low_rank},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa", Dim::latent, Dim::embd},
    {.hf = "self_attn.kv_a_layernorm", .gguf = "attn_kv_a_norm", .n_in = Dim::kv_rank},
    {.hf = "self_attn.kv_b_proj",
     .gguf = "attn_k_b",
     .n_out = Dim::kv_rank,
     .n_in = Dim::nope,
     .transposed = true,
     .stack = Stack::head_keys},
    {.hf = "self_attn.kv_b_proj",
     .gguf = "attn_v_b",
     .n_out = Dim::value_head,
     .n_in = Dim::kv_rank,
     .stack = Stack::head_values},
    {"self_attn.o_proj", "attn_output", Dim::embd, Dim::value_heads},
};
// What adapters know the two as.
constexpr HfModule kWhole[] = {{.hf = "self_attn.kv_b_proj",
                                .gguf = "attn_kv_b",
                                .n_out = Dim::keys_and_values,
                                .n_in = Dim::kv_rank,
                                .of_adapters = true}};

constexpr auto kRouterAndShared = hf::router_and_shared_experts(has_no_choice_bias);

// How experts are chosen, which Hugging Face's classes know by themselves, and DeepSeek's own program and
// llama.cpp's converter read.
void check_routing(HfConfig& config) {
  const auto expect = [&](const char* key, std::initializer_list<std::string_view> known) {
    const std::string value = config.text(key);
    if (value.empty() || std::ranges::find(known, value) != known.end()) return;
    fail("{}: {}: {}: {} models are converted with {}", config.path, key, printable(value),
         config.hf_class->name, fmt::join(known, " or "));
  };
  if (config.number("n_group").value_or(1) > 1 && !config.number("topk_group"))
    fail("{}: topk_group: missing, n_group is {}", config.path, *config.number("n_group"));
  if (!is_v2(config)) {
    expect("scoring_func", {"sigmoid"});
    return expect("topk_method", {"noaux_tc"});
  }
  expect("scoring_func", {"softmax"});
  expect("topk_method", {"greedy", "group_limited_greedy"});
  if (!config.flag("norm_topk_prob", false)) return;
  config.notes.emplace_back(
      "norm_topk_prob: true: experts' weights sum up to one and are then scaled, as llama.cpp has it; "
      "Hugging "
      "Face's class scales alone, DeepSeek's own program does not scale");
}

void read_hf(HfConfig& config) {
  check_routing(config);
  config.n_q_rank = config.count("q_lora_rank", 0, 0);
  config.n_kv_rank = config.count("kv_lora_rank");
  config.n_nope = config.count("qk_nope_head_dim");
  config.n_rope = config.count("qk_rope_head_dim");
  config.n_value = config.count("v_head_dim");
  config.head_dim = config.n_nope + config.n_rope;
  config.states_head_dim = false;
  config.n_head_kv = config.n_head;
  HfRope& rope = config.rope;
  if (rope.type != "yarn") return;
  const double mscale = config.number("rope.mscale").value_or(0), all = rope.log_multiplier.value_or(0);
  if (mscale != all || all == 0 || (rope.attention_factor && std::fabs(*rope.attention_factor - 1) > 1e-4)) {
    fail("{}: rope_scaling: mscale {} and mscale_all_dim {}: GGUF's deepseek2 has one number for both",
         config.path, mscale, all);
  }
  rope.attention_factor.reset();  // 1, which is what programs take
  if (!is_v2(config)) return;
  config.notes.push_back(
      fmt::format("rope_scaling: mscale_all_dim: {}: scores are multiplied as DeepSeek's own program and "
                  "llama.cpp have it; Hugging Face's class leaves that out",
                  all));
}

void write_keys(GgufWriter& writer, const HfConfig& config) {
  const auto size = [&](const char* key, int64_t value) {
    writer.set_u32(fmt::format("deepseek2.{}", key), uint32_t(value));
  };
  size("attention.head_count_kv", 1);  // a latent, which all heads share
  size("attention.key_length", config.n_kv_rank + config.n_rope);
  size("attention.value_length", config.n_kv_rank);
  size("attention.key_length_mla", config.head_dim);
  size("attention.value_length_mla", config.n_value);
  size("attention.kv_lora_rank", config.n_kv_rank);
  if (config.n_q_rank > 0) size("attention.q_lora_rank", config.n_q_rank);
  size("rope.dimension_count", config.n_rope);
  if (config.rope.type == "yarn") {
    writer.set_f32("deepseek2.rope.scaling.yarn_log_multiplier", float(0.1 * *config.rope.log_multiplier));
  }
  if (!is_v2(config)) {
    constexpr uint32_t kSigmoid = 2;
    writer.set_u32("deepseek2.expert_gating_func", kSigmoid);
  }
  if (config.flag("norm_topk_prob", false)) writer.set_bool("deepseek2.expert_weights_norm", true);
}

constexpr HfDefault kAbsentOfV2[] = {{"q_lora_rank", "1536"},
                                     {"moe_intermediate_size", "1407"},
                                     {"n_shared_experts", "2"},
                                     {"topk_method", R"("greedy")"},
                                     {"norm_topk_prob", "false"},
                                     {"first_k_dense_replace", "0"},
                                     {"max_position_embeddings", "2048"}};
constexpr HfDefault kAbsentOfV3[] = {
    {"q_lora_rank", "1536"},      {"moe_intermediate_size", "2048"}, {"n_shared_experts", "1"},
    {"num_experts_per_tok", "8"}, {"routed_scaling_factor", "2.5"},  {"n_group", "8"},
    {"topk_group", "4"},          {"first_k_dense_replace", "3"},    {"max_position_embeddings", "4096"}};
constexpr HfDefault kAbsentOfGlm[] = {
    {"q_lora_rank", "768"},           {"moe_intermediate_size", "1536"},
    {"n_shared_experts", "1"},        {"num_experts_per_tok", "4"},
    {"routed_scaling_factor", "1.8"}, {"first_k_dense_replace", "1"},
    {"qk_nope_head_dim", "192"},      {"v_head_dim", "256"},
    {"rms_norm_eps", "1e-5"},         {"max_position_embeddings", "202752"}};
constexpr HfDefault kAbsent[] = {
    {"kv_lora_rank", "512"}, {"qk_nope_head_dim", "128"}, {"qk_rope_head_dim", "64"}, {"v_head_dim", "128"},
    {"n_group", "1"},        {"topk_group", "1"},         {"norm_topk_prob", "true"}};

constexpr HfFamily kHf = {
    .classes = {{.name = kV2, .has_experts = true, .absent = kAbsentOfV2},
                {.name = "DeepseekV3ForCausalLM", .has_experts = true, .absent = kAbsentOfV3},
                {.name = "Glm4MoeLiteForCausalLM", .has_experts = true, .absent = kAbsentOfGlm}},
    .layer = {hf::kTwoNorms, kLatent, kWhole},
    .dense = {hf::kMlp},
    .experts = {kRouterAndShared, hf::kExperts, hf::kStackedExperts},
    .ahead = hf::kAhead,
    .head_dim = 64,  // of no use: heads are as wide as other keys say
    .absent = kAbsent,
    .numbers = {{"routed_scaling_factor", "expert_weights_scale", 1}},
    .counts = {{"moe_intermediate_size", "expert_feed_forward_length"},
               {"n_shared_experts", "expert_shared_count"},
               {"first_k_dense_replace", "leading_dense_block_count"},
               {"n_group", "expert_group_count"},
               {"topk_group", "expert_group_used_count"}},
    .refused = {{"rope_interleave", false, "turns neighbours"}},
    .read = read_hf,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kDeepSeek2 = {
    .name = "deepseek2",
    .models = "DeepSeek V2, V2-Lite, V3 and R1, Kimi K2, GLM-4.7-Flash",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .own_value_length = true,
    .gradient_bytes = GradientBytes::two,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
