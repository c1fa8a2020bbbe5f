// EXAONE 4: norms behind the bodies alone, and on each head. The 32B model has a window on three layers of
// four, and tells positions to those only.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr int64_t kLayers32B = 64, kWindowPeriod = 4;

void read(const Keys& keys, ModelConfig& c) {
  read_window(keys, c, kWindowPeriod, c.n_layer == kLayers32B ? 4096 : 0);
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = head_normed_attention(c, i);
  if (c.window > 0 && !c.has_window(i)) a.form.rope = -1;
  return post_norm_layer(c, std::move(a), gated_mlp(c, Activation::silu));
}

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "32"}, {"sliding_window", "4096"}};
constexpr HfFamily kHf = {
    .classes = {{"Exaone4ForCausalLM", true}},
    .layer = {hf::kPostNorms, hf::kAttention, hf::kHeadNorms, hf::kMlp},
    .computed = {.window_period = kWindowPeriod, .rope_freqs = true},
    .defaults = {.norm_eps = 1e-5},
    .absent = kAbsent,
    .writes_pattern = true,
};

}  // namespace

extern const Architecture kExaone4 = {
    .name = "exaone4",
    .models = "EXAONE 4",
    .read = read,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
