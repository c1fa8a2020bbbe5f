// Command R (35B): LayerNorm without bias, attention and MLP side by side, logits times a factor. (Command R+
// norms heads with a gain for each: not here.)
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  c.logit_scale = float(keys.positive_or("logit_scale", 1));
}

void read_hf(HfConfig& config) {
  if (const auto n = config.number("model_max_length")) config.n_ctx = int64_t(*n);
}

constexpr HfFamily kHf = {
    .classes = {{"CohereForCausalLM"}},
    .layer = {hf::kOneNorm, hf::kAttention, hf::kMlp},
    .norm_eps = "layer_norm_eps",
    .always_tied = true,
    .tied_by_default = true,
    .defaults = {.rope_theta = 5e5, .norm_eps = 1e-5},
    .numbers = {{"logit_scale", "logit_scale", 0.0625}},
    .refused = {{"use_qk_norm", true, "norms of heads with gains of their own are not supported"}},
    .read = read_hf,
};

}  // namespace

extern const Architecture kCommandR = {
    .name = "command-r",
    .models = "Command R (35B)",
    .rope_style = RopeStyle::interleaved,
    .norm = NormKind::layer,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return parallel_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
