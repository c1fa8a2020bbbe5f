// Baichuan 7B: as Llama (conversion takes its fused tensor apart). The 13B models have no rotary embedding,
// but a slope on scores by distance (ALiBi): they are refused.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr int64_t kLayers13B = 40;

void read(const Keys& keys, ModelConfig& c) {
  if (c.n_layer == kLayers13B)
    fail("{}: {} layers: Baichuan 13B's slopes by distance (ALiBi) are not supported", keys.gguf.path(),
         c.n_layer);
}

constexpr HfModule kAttention[] = {
    {.hf = "self_attn.W_pack",
     .gguf = "attn_q",
     .n_out = Dim::heads,
     .n_in = Dim::embd,
     .order = RowOrder::heads,
     .of_hf = Rows::q},
    {.hf = "self_attn.W_pack",
     .gguf = "attn_k",
     .n_out = Dim::kv_heads,
     .n_in = Dim::embd,
     .order = RowOrder::kv_heads,
     .of_hf = Rows::k},
    {.hf = "self_attn.W_pack", .gguf = "attn_v", .n_out = Dim::kv_heads, .n_in = Dim::embd, .of_hf = Rows::v},
    {"self_attn.o_proj", "attn_output", Dim::embd, Dim::heads},
};

void read_hf(HfConfig& config) {
  if (const auto n = config.number("model_max_length"); n && config.n_ctx == 0) config.n_ctx = int64_t(*n);
  if (config.n_layer == kLayers13B) {
    fail("{}: num_hidden_layers: {}: Baichuan 13B's slopes by distance (ALiBi) are not supported",
         config.path, config.n_layer);
  }
}

constexpr HfFamily kHf = {
    .classes = {{"BaiChuanForCausalLM"},
                {.name = "BaichuanForCausalLM",
                 .why_not = "Baichuan 2 norms the rows of its output, which GGUF's baichuan does not"}},
    .layer = {hf::kTwoNorms, kAttention, hf::kMlp},
    .reorders_heads = true,
    .writes_n_rot = true,
    .read = read_hf,
};

}  // namespace

extern const Architecture kBaichuan = {
    .name = "baichuan",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
