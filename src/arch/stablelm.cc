// StableLM 3B and 2 1.6B: as Llama with LayerNorm, biases where the file has them; a part of each head is
// turned. (The 12B model norms heads with a gain for each: not here.)
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.norms_have_bias = true;
}

void read_hf(HfConfig& config) {  // as the first models had them
  if (const auto eps = config.number("norm_eps")) config.norm_eps = *eps;
  if (const auto part = config.number("rope_pct")) config.rotary_part = *part;
}

void write_keys(GgufWriter& writer, const HfConfig&) {
  writer.set_bool("stablelm.use_parallel_residual", false);
}

constexpr HfFamily kHf = {
    .classes = {{"StableLmForCausalLM"}, {"StableLMEpochForCausalLM"}},
    .layer = {hf::kBiasedTwoNorms, hf::kAttention, hf::kMlp},
    .root = hf::kBiasedRoot,
    .norm_eps = "layer_norm_eps",
    .computed = {.partial_rotary = true},
    .defaults = {.rotary_part = 0.25, .norm_eps = 1e-5},
    .refused = {{"use_parallel_residual", true, "has attention and MLP one after the other here"},
                {"qk_layernorm", true, "norms no heads here"}},
    .writes_n_rot = true,
    .read = read_hf,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kStableLm = {
    .name = "stablelm",
    .norm = NormKind::layer,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
