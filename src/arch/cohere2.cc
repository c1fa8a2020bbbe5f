// Command R7B, Command A: as Command R; three layers with a window to one without, which is not told
// positions.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr int64_t kWindowPeriod = 4, kWindow = 4096;

void read(const Keys& keys, ModelConfig& c) {
  c.logit_scale = float(keys.positive_or("logit_scale", 1));
  read_window(keys, c, kWindowPeriod, kWindow);
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  AttentionSpec a = attention(c, i);
  if (!c.has_window(i)) a.form.rope = -1;
  return parallel_layer(c, std::move(a), gated_mlp(c, Activation::silu));
}

constexpr HfFamily kHf = {
    .classes = {{"Cohere2ForCausalLM", true},
                {"AyaVisionForConditionalGeneration", true, "cohere2"},
                {"Cohere2VisionForConditionalGeneration", true, "cohere2"}},
    .layer = {hf::kOneNorm, hf::kAttention, hf::kMlp},
    .norm_eps = "layer_norm_eps",
    .always_tied = true,
    .tied_by_default = true,
    .computed = {.window_period = kWindowPeriod},
    .defaults = {.sliding_window = kWindow, .norm_eps = 1e-5},
    .numbers = {{"logit_scale", "logit_scale", 0.0625}},
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kCohere2 = {
    .name = "cohere2",
    .models = "Command R7B, Command A",
    .rope_style = RopeStyle::interleaved,
    .norm = NormKind::layer,
    .read = read,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
