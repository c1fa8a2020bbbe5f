// Ministral 3 (Mistral Small 3 is `llama`): as Llama with YaRN; queries grow with the logarithm of their
// position.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  c.temperature_scale = float(keys.number_or("attention.temperature_scale", 0));
  c.temperature_length = c.rope.n_ctx_orig;
}

constexpr HfDefault kAbsent[] = {
    {"num_key_value_heads", "8"},
    {"rope_scaling",
     R"({"rope_type": "yarn", "rope_theta": 1e6, "factor": 16, "beta_fast": 32, "beta_slow": 1,
                         "mscale": 1, "mscale_all_dim": 1, "original_max_position_embeddings": 16384,
                         "llama_4_scaling_beta": 0.1})"}};
constexpr HfFamily kHf = {
    .classes = {{"Ministral3ForCausalLM", true}, {"Mistral3ForConditionalGeneration", true, "ministral3"}},
    .layer = {hf::kTwoNorms, hf::kBiasedAttention, hf::kBiasedMlp},
    .reorders_heads = true,
    .head_dim = 128,
    .defaults = {.norm_eps = 1e-5},
    .absent = kAbsent,
    .numbers = {{"rope.llama_4_scaling_beta", "attention.temperature_scale"}},
    .writes_n_rot = true,
    .writes_log_multiplier = true,
};

}  // namespace

extern const Architecture kMistral3 = {
    .name = "mistral3",
    .models = "Ministral 3",
    .rope_style = RopeStyle::interleaved,
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
