// Gemma 2: as Gemma, with norms behind the bodies too, capped scores and logits, and a window on every other
// layer. The 27B model scales scores by its width over its heads.
#include <cmath>

#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr int64_t kLayers27B = 46, kWindowPeriod = 2, kWindow = 4096;

void read(const Keys& keys, ModelConfig& c) {
  c.embedding_scale = float(std::sqrt(double(c.n_embd)));
  c.attention_softcap = float(keys.positive_or("attn_logit_softcapping", 50));
  c.logit_softcap = float(keys.positive_or("final_logit_softcapping", 30));
  read_window(keys, c, kWindowPeriod, kWindow);
  if (c.n_layer == kLayers27B) c.attention_scale = float(1 / std::sqrt(double(c.n_embd) / double(c.n_head)));
}

constexpr HfFamily kHf = {
    .classes = {{"Gemma2ForCausalLM", true}},
    .layer = {hf::kFourNorms, hf::kAttention, hf::kMlp},
    .head_dim = 256,
    .norms_lack_one = true,
    .always_tied = true,
    .tied_by_default = true,
    .no_space_prefix = true,
    .computed = {.activation_key = "hidden_activation",
                 .activation = "gelu_pytorch_tanh",
                 .window_period = kWindowPeriod,
                 .query_scalar = true,
                 .caps_logits = true,
                 .large = kLayers27B},
    .defaults = {.sliding_window = kWindow},
};

}  // namespace

extern const Architecture kGemma2 = {
    .name = "gemma2",
    .models = "Gemma 2",
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return sandwich_layer(c, attention(c, i), gated_mlp(c, Activation::gelu_tanh));
        },
    .hf = &kHf,
};

}  // namespace lora
