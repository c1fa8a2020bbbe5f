// Gemma 1, CodeGemma: embeddings times sqrt(n_embd), GELU in the gate; heads wider than n_embd / n_head.
#include <cmath>

#include "arch/blocks.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.embedding_scale = float(std::sqrt(double(c.n_embd)));
}

}  // namespace

extern const Architecture kGemma = {
    .name = "gemma",
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::gelu_tanh));
        },
};

}  // namespace lora
