// GPT-2: LayerNorm with bias, biases everywhere, GELU without a gate, q, k and v rows of one tensor.
// Positions are told by a table of them. Hugging Face has a column of its matrices for each output.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.fused_qkv = c.norms_have_bias = c.has_position_table = true;
}

constexpr HfModule conv1d(std::string_view hf, std::string_view gguf, Dim n_out, Dim n_in) {
  return {.hf = hf, .gguf = gguf, .n_out = n_out, .n_in = n_in, .may_have_bias = true, .transposed = true};
}
constexpr HfModule kModules[] = {
    {"ln_1", "attn_norm", Dim::none, Dim::embd, RowOrder::as_is, true},
    conv1d("attn.c_attn", "attn_qkv", Dim::qkv, Dim::embd),
    conv1d("attn.c_proj", "attn_output", Dim::embd, Dim::heads),
    {"ln_2", "ffn_norm", Dim::none, Dim::embd, RowOrder::as_is, true},
    conv1d("mlp.c_fc", "ffn_up", Dim::ff, Dim::embd),
    conv1d("mlp.c_proj", "ffn_down", Dim::embd, Dim::ff),
};
constexpr HfModule kRoot[] = {
    {"wte", "token_embd", Dim::vocab, Dim::embd},
    {"wpe", "position_embd", Dim::ctx, Dim::embd},
    {"ln_f", "output_norm", Dim::none, Dim::embd, RowOrder::as_is, true},
    {"lm_head", "output", Dim::vocab, Dim::embd},
};

void read_hf(HfConfig& config) {
  config.n_head_kv = config.n_head;
  if (config.n_ff == 0) config.n_ff = 4 * config.n_embd;
}

constexpr HfFamily kHf = {
    .classes = {{"GPT2LMHeadModel"}},
    .layer = {kModules},
    .root = kRoot,
    .prefix = "transformer.",
    .layers = "h.",
    .norm_eps = "layer_norm_epsilon",
    .has_rope = false,
    .tied_by_default = true,
    .sizes = {.n_layer = "n_layer",
              .n_embd = "n_embd",
              .n_ff = "n_inner",
              .n_head = "n_head",
              .n_ctx = "n_positions"},
    .computed = {.activation_key = "activation_function", .activation = "gelu_pytorch_tanh"},
    .defaults = {.n_ctx = 1024, .norm_eps = 1e-5},
    .refused = {{"scale_attn_weights", false, "scales scores by the width of heads"},
                {"scale_attn_by_inverse_layer_idx", true, "scales scores alike in all layers"}},
    .read = read_hf,
};

}  // namespace

extern const Architecture kGpt2 = {
    .name = "gpt2",
    .models = "GPT-2",
    .has_rope = HasRope::no,
    .norm = NormKind::layer,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, with_biases(attention(c, i), true, true),
                                plain_mlp(c, Activation::gelu_tanh, true));
        },
    .hf = &kHf,
};

}  // namespace lora
