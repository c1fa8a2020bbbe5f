// Qwen 1.5, 2 and 2.5: as Llama, with biases on queries, keys and values.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {

namespace {

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "32"}};
constexpr HfFamily kHf = {
    .classes = {{"Qwen2ForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kAttention, hf::kMlp},
    .absent = kAbsent,
};

}  // namespace

extern const Architecture kQwen2 = {
    .name = "qwen2",
    .models = "Qwen 1.5, 2 and 2.5",
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, with_biases(attention(c, i), true, false), gated_mlp(c, Activation::silu));
        },
    .hf = &kHf,
};

}  // namespace lora
