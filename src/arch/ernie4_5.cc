// ERNIE 4.5 (dense): as Llama.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {

namespace {

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "2"}};
constexpr HfFamily kHf = {
    .classes = {{"Ernie4_5ForCausalLM"}, {"Ernie4_5_ForCausalLM"}},
    .layer = {hf::kTwoNorms, hf::kUnbiasedAttention, hf::kMlp},
    .head_dim = 128,
    .tied_by_default = true,
    .defaults = {.rope_theta = 5e5, .norm_eps = 1e-5},
    .absent = kAbsent,
    .refused = {{"use_bias", true, "computes without biases (llama.cpp reads them, and leaves them)"}},
};

}  // namespace

extern const Architecture kErnie45 = {
    .name = "ernie4_5",
    .models = "ERNIE 4.5 (dense)",
    .rope_style = RopeStyle::interleaved,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
