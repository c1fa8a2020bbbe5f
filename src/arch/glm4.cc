// GLM-4 (0414): norms before and behind; half of each head is turned, pairs side by side; gate and up are
// rows of one tensor.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.fused_gate_up = true;
}

constexpr HfModule kNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    {"post_self_attn_layernorm", "post_attention_norm", Dim::none, Dim::embd},
    {"post_attention_layernorm", "ffn_norm", Dim::none, Dim::embd},
    {"post_mlp_layernorm", "post_ffw_norm", Dim::none, Dim::embd},
};

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "2"}};
constexpr HfFamily kHf = {
    .classes = {{"Glm4ForCausalLM"}},
    .layer = {kNorms, hf::kAttention, hf::kFusedMlp, hf::kMlpApart},
    .head_dim = 128,
    .computed = {.partial_rotary = true},
    .defaults = {.rotary_part = 0.5, .norm_eps = 1.5625e-7},
    .absent = kAbsent,
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kGlm4 = {
    .name = "glm4",
    .models = "GLM-4 (0414)",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .gradient_bytes = GradientBytes::two,
    .layer = [](const ModelConfig& c,
                int64_t i) { return sandwich_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
