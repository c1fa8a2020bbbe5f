// Falcon-H1: attention and Mamba-2 side by side behind one norm, then an MLP. The factors that its
// configuration has are in the weights of GGUF.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer = pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu));
  layer[0].bodies.emplace_back(mamba2(c));
  return layer;
}

}  // namespace

extern const Architecture kFalconH1 = {
    .name = "falcon-h1",
    .models = "Falcon-H1",
    .read = read_mamba2,
    .layer = layer,
};

}  // namespace lora
