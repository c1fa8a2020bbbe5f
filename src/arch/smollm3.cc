// SmolLM 3: as Llama; every fourth layer is not told positions.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr int64_t kNoRopePeriod = 4;

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = attention(c, i);
  if ((i + 1) % kNoRopePeriod == 0) a.form.rope = -1;
  return pre_norm_layer(c, std::move(a), gated_mlp(c, Activation::silu));
}

constexpr HfFamily kHf = {
    .classes = {{"SmolLM3ForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kAttention, hf::kMlp},
    .reorders_heads = true,
    .tied_by_default = true,
    .computed = {.no_rope_period = kNoRopePeriod, .rope_freqs = true},
    .defaults = {.rope_theta = 2e6},
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kSmolLm3 = {
    .name = "smollm3",
    .models = "SmolLM 3",
    .rope_style = RopeStyle::interleaved,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
