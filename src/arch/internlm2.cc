// InternLM 2 and 2.5: as Llama (conversion takes its fused tensor apart).
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {

namespace {

constexpr HfModule kModules[] = {
    {"attention_norm", "attn_norm", Dim::none, Dim::embd},
    {.hf = "attention.wqkv",
     .gguf = "attn_q",
     .n_out = Dim::heads,
     .n_in = Dim::embd,
     .order = RowOrder::heads,
     .of_hf = Rows::q,
     .grouped = true},
    {.hf = "attention.wqkv",
     .gguf = "attn_k",
     .n_out = Dim::kv_heads,
     .n_in = Dim::embd,
     .order = RowOrder::kv_heads,
     .of_hf = Rows::k,
     .grouped = true},
    {.hf = "attention.wqkv",
     .gguf = "attn_v",
     .n_out = Dim::kv_heads,
     .n_in = Dim::embd,
     .of_hf = Rows::v,
     .grouped = true},
    {"attention.wo", "attn_output", Dim::embd, Dim::heads},
    {"ffn_norm", "ffn_norm", Dim::none, Dim::embd},
    {"feed_forward.w1", "ffn_gate", Dim::ff, Dim::embd},
    {"feed_forward.w3", "ffn_up", Dim::ff, Dim::embd},
    {"feed_forward.w2", "ffn_down", Dim::embd, Dim::ff},
};
constexpr HfModule kRoot[] = {
    {"tok_embeddings", "token_embd", Dim::vocab, Dim::embd},
    {"norm", "output_norm", Dim::none, Dim::embd},
    {"output", "output", Dim::vocab, Dim::embd},
};

constexpr HfFamily kHf = {
    .classes = {{"InternLM2ForCausalLM"}},
    .layer = {kModules},
    .root = kRoot,
    .reorders_heads = true,
    .refused = {{"bias", true, "has no biases"}},
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kInternLm2 = {
    .name = "internlm2",
    .rope_style = RopeStyle::interleaved,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
