// Gemma 3: as Gemma 2 without caps, with norms on heads; five layers with a window to one without, and those
// turn by a rotary base of their own, unscaled. The 27B model scales scores by its width over its heads.
#include <cmath>

#include "arch/blocks.h"

namespace lora {
namespace {

constexpr int64_t kLayers27B = 62;

void read(const Keys& keys, ModelConfig& c) {
  c.embedding_scale = float(std::sqrt(double(c.n_embd)));
  if (keys.number("final_logit_softcapping"))
    c.logit_softcap = float(keys.positive_or("final_logit_softcapping", 0));
  read_window(keys, c, 6, 1024);
  c.rope_swa =
      RopeParameters{.n_rot = c.rope.n_rot, .freq_base = keys.positive_or("rope.freq_base_swa", 10000)};
  if (c.n_layer == kLayers27B) c.attention_scale = float(1 / std::sqrt(double(c.n_embd) / double(c.n_head)));
}

}  // namespace

extern const Architecture kGemma3 = {
    .name = "gemma3",
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return sandwich_layer(c, head_normed_attention(c, i), gated_mlp(c, Activation::gelu_tanh));
        },
};

}  // namespace lora
