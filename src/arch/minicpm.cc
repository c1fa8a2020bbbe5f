// MiniCPM 1 and 2: as Llama, with factors on embeddings, residual branches and logits.
#include <cmath>

#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  // Files from before the keys hold MiniCPM 2B's values by being silent.
  c.embedding_scale = float(keys.positive_or("embedding_scale", 12));
  c.residual_scale = float(keys.positive_or("residual_scale", 1.4 / std::sqrt(double(c.n_layer))));
  c.logit_scale = float(1 / keys.positive_or("logit_scale", double(c.n_embd) / 256));
}

void write_keys(GgufWriter& writer, const HfConfig& config) {
  writer.set_f32("minicpm.embedding_scale", float(config.number("scale_emb").value_or(1)));
  const double depth = config.number("scale_depth").value_or(1);
  writer.set_f32("minicpm.residual_scale", float(depth / std::sqrt(double(config.n_layer))));
  const double width = config.number("dim_model_base").value_or(1);
  writer.set_f32("minicpm.logit_scale", float(double(config.n_embd) / width));
  if (config.rope.type == "longrope") write_longrope_keys(writer, config);
}

constexpr HfFamily kHf = {
    .classes = {{"MiniCPMForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kBiasedAttention, hf::kMlp},
    .reorders_heads = true,
    .tied_by_default = true,
    .computed = {.rope_factors = true},
    .refused = {{"num_experts", true, "has no experts here"}},
    .writes_n_rot = true,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kMiniCpm = {
    .name = "minicpm",
    .models = "MiniCPM 1 and 2",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
