// Granite 3 and 4 (dense): as Llama, with factors on embeddings, scores, residual branches and logits.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr HfFamily kHf = {
    .classes = {{"GraniteForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kBiasedAttention, hf::kBiasedMlp},
    .reorders_heads = true,
    .computed = {.rope_freqs = true},
    .numbers = hf::kGraniteNumbers,
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kGranite = {
    .name = "granite",
    .models = "Granite 3, and 4 (dense) as GGUF",
    .rope_style = RopeStyle::interleaved,
    .has_rope = HasRope::as_said,
    .read = read_granite_factors,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
