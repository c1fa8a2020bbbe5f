// Falcon 7B: LayerNorm with bias, attention and MLP side by side, GELU without a gate, q, k and v rows of one
// tensor. (Falcon 40B norms attention and MLP apart: not here.)
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.fused_qkv = c.norms_have_bias = true;
}

constexpr HfModule kModules[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd, RowOrder::as_is, true},
    {.hf = "self_attention.query_key_value",
     .gguf = "attn_qkv",
     .n_out = Dim::qkv,
     .n_in = Dim::embd,
     .grouped = true},
    {"self_attention.dense", "attn_output", Dim::embd, Dim::heads},
    {"mlp.dense_h_to_4h", "ffn_up", Dim::ff, Dim::embd},
    {"mlp.dense_4h_to_h", "ffn_down", Dim::embd, Dim::ff},
};
constexpr HfModule kRoot[] = {
    {"word_embeddings", "token_embd", Dim::vocab, Dim::embd},
    {"ln_f", "output_norm", Dim::none, Dim::embd, RowOrder::as_is, true},
    {"lm_head", "output", Dim::vocab, Dim::embd},
};

void read_hf(HfConfig& config) {
  const auto is_on = [&](const char* key, bool otherwise) {
    return config.number(key).value_or(otherwise) != 0;
  };
  const bool is_new = is_on("new_decoder_architecture", false);
  if (is_new && config.number("num_ln_in_parallel_attn").value_or(2) != 1) {
    fail(
        "{}: new_decoder_architecture: true: norms of attention and MLP apart (Falcon 40B) are not supported",
        config.path);
  }
  const auto n_head = double(config.n_head);
  config.n_head_kv = int64_t(is_new                       ? config.number("num_kv_heads").value_or(n_head)
                             : is_on("multi_query", true) ? 1
                                                          : n_head);
  config.n_ff = int64_t(config.number("ffn_hidden_size").value_or(4 * double(config.n_embd)));
}

constexpr HfFamily kHf = {
    .classes = {{"FalconForCausalLM"}},
    .layer = {kModules},
    .root = kRoot,
    .prefix = "transformer.",
    .layers = "h.",
    .norm_eps = "layer_norm_epsilon",
    .tied_by_default = true,
    .computed = {.activation_key = "activation", .activation = "gelu"},
    .defaults = {.n_ctx = 2048, .norm_eps = 1e-5},
    .refused = {{"alibi", true, "rotates heads"},
                {"parallel_attn", false, "has attention and MLP side by side"},
                {"bias", true, "has no biases"}},
    .read = read_hf,
};

}  // namespace

extern const Architecture kFalcon = {
    .name = "falcon",
    .models = "Falcon 7B",
    .norm = NormKind::layer,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return parallel_layer(c, attention(c, i), plain_mlp(c, Activation::gelu, false));
        },
    .hf = &kHf,
};

}  // namespace lora
