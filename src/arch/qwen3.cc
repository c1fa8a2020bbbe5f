// Qwen 3: as Llama, with a norm on each head of queries and keys, before they are turned.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {

namespace {

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "32"}};
constexpr HfFamily kHf = {
    .classes = {{"Qwen3ForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kAttention, hf::kHeadNorms, hf::kMlp},
    .head_dim = 128,
    .absent = kAbsent,
};

}  // namespace

extern const Architecture kQwen3 = {
    .name = "qwen3",
    .models = "Qwen 3",
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, head_normed_attention(c, i), gated_mlp(c, Activation::silu));
        },
    .hf = &kHf,
};

}  // namespace lora
