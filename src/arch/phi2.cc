// Phi-1, 1.5 and 2: LayerNorm with bias, biases everywhere, attention and MLP side by side, GELU without a
// gate; a part of each head is turned.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.norms_have_bias = c.output_has_bias = true;
}

constexpr HfModule kModules[] = {
    {"self_attn.q_proj", "attn_q", Dim::heads, Dim::embd, RowOrder::as_is, true},
    {"self_attn.k_proj", "attn_k", Dim::kv_heads, Dim::embd, RowOrder::as_is, true},
    {"self_attn.v_proj", "attn_v", Dim::kv_heads, Dim::embd, RowOrder::as_is, true},
    {"self_attn.dense", "attn_output", Dim::embd, Dim::heads, RowOrder::as_is, true},
    {"mlp.fc1", "ffn_up", Dim::ff, Dim::embd, RowOrder::as_is, true},
    {"mlp.fc2", "ffn_down", Dim::embd, Dim::ff, RowOrder::as_is, true},
};
constexpr HfModule kRoot[] = {
    {"embed_tokens", "token_embd", Dim::vocab, Dim::embd},
    {"final_layernorm", "output_norm", Dim::none, Dim::embd, RowOrder::as_is, true},
    {"lm_head", "output", Dim::vocab, Dim::embd, RowOrder::as_is, true},
};

constexpr HfFamily kHf = {
    .classes = {{"PhiForCausalLM"}},
    .layer = {hf::kBiasedOneNorm, kModules},
    .root = kRoot,
    .norm_eps = "layer_norm_eps",
    .computed = {.activation = "gelu_pytorch_tanh", .partial_rotary = true},
    .defaults = {.n_ctx = 2048, .rotary_part = 0.5, .norm_eps = 1e-5},
    .refused = {{"qk_layernorm", true, "norms no heads"}},
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kPhi2 = {
    .name = "phi2",
    .models = "Phi-1, 1.5 and 2",
    .norm = NormKind::layer,
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return parallel_layer(c, with_biases(attention(c, i), true, true),
                                plain_mlp(c, Activation::gelu_tanh, true));
        },
    .hf = &kHf,
};

}  // namespace lora
