// Granite 3 and 4 (dense): as Llama, with factors on embeddings, scores, residual branches and logits.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  read_granite_factors(keys, c);
  c.has_rope = keys.gguf.get_bool(keys.key("rope.scaling.finetuned")).value_or(true);
}

constexpr HfFamily kHf = {
    .classes = {{"GraniteForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kBiasedAttention, hf::kBiasedMlp},
    .reorders_heads = true,
    .computed = {.rope_freqs = true},
    .numbers = {{"attention_multiplier", "attention.scale", 1},
                {"embedding_multiplier", "embedding_scale", 1},
                {"residual_multiplier", "residual_scale", 1},
                {"logits_scaling", "logit_scale", 1}},
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kGranite = {
    .name = "granite",
    .models = "Granite 3, and 4 (dense) as GGUF",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
