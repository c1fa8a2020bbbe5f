// OLMo 2 and 3: norms behind the bodies alone; queries and keys are normed over all heads together. OLMo 3
// has a window on three layers of four; those are turned as without YaRN.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr int64_t kWindowPeriod = 4;

void read(const Keys& keys, ModelConfig& c) {
  read_window(keys, c, kWindowPeriod);
  if (c.window == 0) return;
  c.rope_swa = RopeParameters{.n_rot = c.rope.n_rot,
                              .freq_base = keys.positive_or("rope.freq_base_swa", c.rope.freq_base)};
}

constexpr HfFamily kHf = {
    .classes = {{"Olmo2ForCausalLM"}, {"Olmo3ForCausalLM", true}},
    .layer = {hf::kPostNorms, hf::kAttention, hf::kRowNorms, hf::kMlp},
    .computed = {.window_period = kWindowPeriod},
    .defaults = {.norm_eps = 1e-5},
    .writes_pattern = true,
};

}  // namespace

extern const Architecture kOlmo2 = {
    .name = "olmo2",
    .models = "OLMo 2 and 3",
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return post_norm_layer(c, row_normed_attention(c, i), gated_mlp(c, Activation::silu));
        },
    .hf = &kHf,
};

}  // namespace lora
