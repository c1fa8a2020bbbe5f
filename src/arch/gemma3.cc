// Gemma 3: as Gemma 2 without caps, with norms on heads; five layers with a window to one without, and those
// turn by a rotary base of their own, unscaled. The 27B model scales scores by its width over its heads.
#include <cmath>

#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

constexpr int64_t kLayers27B = 62, kWindowPeriod = 6;

void read(const Keys& keys, ModelConfig& c) {
  c.embedding_scale = float(std::sqrt(double(c.n_embd)));
  if (keys.number("final_logit_softcapping"))
    c.logit_softcap = float(keys.positive_or("final_logit_softcapping", 0));
  read_window(keys, c, kWindowPeriod);
  c.rope_swa =
      RopeParameters{.n_rot = c.rope.n_rot, .freq_base = keys.positive_or("rope.freq_base_swa", 10000)};
  if (c.n_layer == kLayers27B) c.attention_scale = float(1 / std::sqrt(double(c.n_embd) / double(c.n_head)));
}

constexpr HfFamily kHf = {
    .classes = {{"Gemma3ForCausalLM", true},
                {"Gemma3TextModel", true},
                {"Gemma3ForConditionalGeneration", true}},
    .layer = {hf::kFourNorms, hf::kAttention, hf::kHeadNorms, hf::kMlp},
    .head_dim = 256,
    .norms_lack_one = true,
    .tied_by_default = true,
    .no_space_prefix = true,
    .computed = {.activation_key = "hidden_activation",
                 .activation = "gelu_pytorch_tanh",
                 .window_period = kWindowPeriod,
                 .local_theta = true,
                 .query_scalar = true,
                 .large = kLayers27B},
    .defaults = {.n_vocab = 262208,
                 .n_head = 8,
                 .n_head_kv = 4,
                 .n_ctx = 131072,
                 .sliding_window = 4096,
                 .rope_theta = 1e6,
                 .local_theta = 1e4},
};

}  // namespace

extern const Architecture kGemma3 = {
    .name = "gemma3",
    .models = "Gemma 3",
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return sandwich_layer(c, head_normed_attention(c, i), gated_mlp(c, Activation::gelu_tanh));
        },
    .hf = &kHf,
};

}  // namespace lora
