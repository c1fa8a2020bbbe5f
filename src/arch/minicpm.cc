// MiniCPM 1 and 2: as Llama, with factors on embeddings, residual branches and logits.
#include <cmath>

#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  // Files from before the keys hold MiniCPM 2B's values by being silent.
  c.embedding_scale = float(keys.positive_or("embedding_scale", 12));
  c.residual_scale = float(keys.positive_or("residual_scale", 1.4 / std::sqrt(double(c.n_layer))));
  c.logit_scale = float(1 / keys.positive_or("logit_scale", double(c.n_embd) / 256));
}

}  // namespace

extern const Architecture kMiniCpm = {
    .name = "minicpm",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
};

}  // namespace lora
