// GPT-NeoX, Pythia: LayerNorm with bias, biases everywhere, GELU without a gate, q, k and v rows of one
// tensor, a part of each head is turned. Attention and MLP stand side by side, each behind a norm of its own,
// or in some models one after the other.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  c.fused_qkv = c.norms_have_bias = true;
  c.parallel_residual = keys.gguf.get_bool(keys.key("use_parallel_residual")).value_or(true);
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = with_biases(attention(c, i), true, true);
  MlpSpec mlp = plain_mlp(c, Activation::gelu, true);
  if (!c.parallel_residual) return pre_norm_layer(c, std::move(a), std::move(mlp));
  LayerSpec layer = parallel_layer(c, std::move(a), std::move(mlp));
  layer[0].before_second = norm(c, "ffn_norm");
  return layer;
}

constexpr HfModule kModules[] = {
    {.hf = "attention.query_key_value",
     .gguf = "attn_qkv",
     .n_out = Dim::qkv,
     .n_in = Dim::embd,
     .may_have_bias = true,
     .grouped = true},
    {"attention.dense", "attn_output", Dim::embd, Dim::heads, RowOrder::as_is, true},
    {"mlp.dense_h_to_4h", "ffn_up", Dim::ff, Dim::embd, RowOrder::as_is, true},
    {"mlp.dense_4h_to_h", "ffn_down", Dim::embd, Dim::ff, RowOrder::as_is, true},
};
constexpr HfModule kRoot[] = {
    {"embed_in", "token_embd", Dim::vocab, Dim::embd},
    {"final_layer_norm", "output_norm", Dim::none, Dim::embd, RowOrder::as_is, true},
    {"embed_out", "output", Dim::vocab, Dim::embd},
};

void read_hf(HfConfig& config) {
  config.n_head_kv = config.n_head;
  if (const auto part = config.number("rotary_pct")) config.rotary_part = *part;
  if (const auto base = config.number("rotary_emb_base")) config.rope.theta = *base;
}

void write_keys(GgufWriter& writer, const HfConfig& config) {
  writer.set_bool("gptneox.use_parallel_residual", config.number("use_parallel_residual").value_or(1) != 0);
}

constexpr HfFamily kHf = {
    .classes = {{"GPTNeoXForCausalLM"}},
    .layer = {hf::kBiasedTwoNorms, kModules},
    .root = kRoot,
    .prefix = "gpt_neox.",
    .norm_eps = "layer_norm_eps",
    .computed = {.activation = "gelu", .partial_rotary = true},
    .defaults = {.n_ctx = 2048, .rotary_part = 0.25, .norm_eps = 1e-5},
    .refused = {{"attention_bias", false, "has biases"}},
    .writes_n_rot = true,
    .read = read_hf,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kGptNeoX = {
    .name = "gptneox",
    .models = "GPT-NeoX, Pythia, Dolly 2",
    .norm = NormKind::layer,
    .read = read,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
