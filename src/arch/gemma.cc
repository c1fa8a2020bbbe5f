// Gemma 1, CodeGemma: embeddings times sqrt(n_embd), GELU in the gate; heads wider than n_embd / n_head.
#include <cmath>

#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys&, ModelConfig& c) {
  c.embedding_scale = float(std::sqrt(double(c.n_embd)));
}

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "16"}};
constexpr HfFamily kHf = {
    .classes = {{"GemmaForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kAttention, hf::kMlp},
    .head_dim = 256,
    .norms_lack_one = true,
    .always_tied = true,
    .tied_by_default = true,
    .no_space_prefix = true,
    // Of hidden_act the class says that it may be wrong, and does not look at it.
    .computed = {.activation_key = "hidden_activation", .activation = "gelu_pytorch_tanh"},
    .absent = kAbsent,
};

}  // namespace

extern const Architecture kGemma = {
    .name = "gemma",
    .models = "Gemma 1, CodeGemma",
    .read = read,
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::gelu_tanh));
        },
    .hf = &kHf,
};

}  // namespace lora
