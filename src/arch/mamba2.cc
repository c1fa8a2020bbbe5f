// Mamba-2: nothing but layers with a state, without attention and MLPs.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t) {
  return {{.before = norm(c, "attn_norm"), .bodies = {mamba2(c)}}};
}

}  // namespace

extern const Architecture kMamba2 = {
    .name = "mamba2",
    .models = "Mamba-2, Codestral Mamba",
    .layers_differ = true,
    .read =
        [](const Keys& keys, ModelConfig& c) {
          read_mamba2(keys, c);
          c.has_rope = false;
        },
    .layer = layer,
};

}  // namespace lora
