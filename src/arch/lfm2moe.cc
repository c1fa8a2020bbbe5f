// LFM2 with experts (8B-A1B, 24B-A2B): as LFM2, with experts chosen by a sigmoid and a bias that does not
// weigh them behind some dense layers.
#include "arch/lfm2.h"
#include "base/error.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_lfm2(keys, c);
  read_experts(keys, c, Gating::sigmoid, true);
  c.experts.has_choice_bias = true;
}

constexpr HfModule kRouter[] = {
    {.hf = "feed_forward.gate",
     .gguf = "ffn_gate_inp",
     .n_out = Dim::experts,
     .n_in = Dim::embd,
     .is_router = true},
    {.hf = "feed_forward.expert_bias",
     .gguf = "exp_probs_b",
     .n_in = Dim::experts,
     .hf_end = "",
     .gguf_end = ".bias"},
};
constexpr HfModule kExperts[] = {
    {.hf = "feed_forward.experts.#.w1",
     .gguf = "ffn_gate_exps",
     .n_out = Dim::expert_ff,
     .n_in = Dim::embd,
     .stack = Stack::each},
    {.hf = "feed_forward.experts.#.w3",
     .gguf = "ffn_up_exps",
     .n_out = Dim::expert_ff,
     .n_in = Dim::embd,
     .stack = Stack::each},
    {.hf = "feed_forward.experts.#.w2",
     .gguf = "ffn_down_exps",
     .n_out = Dim::embd,
     .n_in = Dim::expert_ff,
     .stack = Stack::each},
};
constexpr auto kStackedExperts = hf::stacked_experts(
    "feed_forward.experts.gate_up_proj", "feed_forward.experts.down_proj", "", Stack::whole, false);

constexpr HfModule kMlxMlp[] = {
    {"feed_forward.gate_proj", "ffn_gate", Dim::ff, Dim::embd},
    {"feed_forward.up_proj", "ffn_up", Dim::ff, Dim::embd},
    {"feed_forward.down_proj", "ffn_down", Dim::embd, Dim::ff},
};
constexpr auto kMlpOfAdapters = hf::of_adapters(kMlxMlp);

constexpr const char *kScale = "routed_scaling_factor", *kNormalized = "norm_topk_prob",
                     *kDense = "num_dense_layers";

void read_hf(HfConfig& config) {
  hf::read_lfm2(config);
  for (const auto& [key, standard] : {std::pair(kScale, 1.0), std::pair(kNormalized, 1.0)}) {
    if (config.number(key).value_or(standard) == standard) continue;
    config.notes.push_back(
        fmt::format("{}: {}: written, and computed with here; llama.cpp computes lfm2moe with {}", key,
                    *config.number(key), standard));
  }
}

void write_keys(GgufWriter& writer, const HfConfig& config) {
  constexpr uint32_t kSigmoid = 2;
  hf::write_lfm2_keys(writer, config);
  writer.set_u32("lfm2moe.expert_gating_func", kSigmoid);
  if (const double scale = config.number(kScale).value_or(1); scale != 1)
    writer.set_f32("lfm2moe.expert_weights_scale", float(scale));
  if (!config.flag(kNormalized, true)) writer.set_bool("lfm2moe.expert_weights_norm", false);
}

constexpr HfDefault kAbsent[] = {
    {kDense, "2"}, {"moe_intermediate_size", "1792"}, {"num_experts_per_tok", "4"}};
constexpr HfFamily kHf = {
    .classes = {{.name = "Lfm2MoeForCausalLM", .has_experts = true}},
    .layer = {hf::kLfm2Norms},
    .attention = {hf::kLfm2Attention},
    .recurrent = {hf::kShortConv},
    .dense = {hf::kLfm2Mlp, kMlpOfAdapters},
    .experts = {kRouter, kExperts, kStackedExperts},
    .root = hf::kLfm2Root,
    .norm_eps = "norm_eps",
    .tied_by_default = true,
    .computed = hf::kLfm2Computed,
    .defaults = hf::kLfm2Defaults,
    .absent = kAbsent,
    .counts = {{"moe_intermediate_size", "expert_feed_forward_length"},
               {kDense, "leading_dense_block_count"}},
    .refused = {hf::kNoConvBias, {"use_expert_bias", false, "chooses experts with a bias"}},
    .writes_kv_by_layer = true,
    .read = read_hf,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kLfm2Moe = {
    .name = "lfm2moe",
    .models = "LFM2 with experts (8B-A1B, 24B-A2B)",
    .layers_differ = true,
    .output_norm = kLfm2OutputNorm,
    .read = read,
    .gradient_bytes = GradientBytes::two,
    .layer = lfm2_layer,
    .hf = &kHf,
};

}  // namespace lora
