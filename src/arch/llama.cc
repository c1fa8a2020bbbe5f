// Llama 1, 2 and 3, Mistral, TinyLlama, SmolLM, OpenLLaMA: RMSNorm before attention and MLP, rotary
// pairs that lie side by side (conversion permutes q and k so), SwiGLU, grouped key/value heads. Mixtral:
// with experts.
#include "arch/blocks.h"
#include "arch/hf_modules.h"

namespace lora {

namespace {

constexpr HfModule kExperts[] = {
    {.hf = "block_sparse_moe.gate",
     .gguf = "ffn_gate_inp",
     .n_out = Dim::experts,
     .n_in = Dim::embd,
     .is_router = true},
    {.hf = "block_sparse_moe.experts.#.w1",
     .gguf = "ffn_gate_exps",
     .n_out = Dim::expert_ff,
     .n_in = Dim::embd,
     .stack = Stack::each},
    {.hf = "block_sparse_moe.experts.#.w3",
     .gguf = "ffn_up_exps",
     .n_out = Dim::expert_ff,
     .n_in = Dim::embd,
     .stack = Stack::each},
    {.hf = "block_sparse_moe.experts.#.w2",
     .gguf = "ffn_down_exps",
     .n_out = Dim::embd,
     .n_in = Dim::expert_ff,
     .stack = Stack::each},
};

constexpr HfDefault kAbsentOfMixtral[] = {{"num_experts_per_tok", "2"},
                                          {"num_key_value_heads", "8"},
                                          {"rope_theta", "1e6"},
                                          {"rms_norm_eps", "1e-5"}};
constexpr HfDefault kAbsentOfMistral[] = {{"num_key_value_heads", "8"}};
constexpr HfFamily kHf = {
    .classes = {{"LlamaForCausalLM"},
                {"LLaMAForCausalLM"},
                {.name = "MistralForCausalLM", .window_by_default = true, .absent = kAbsentOfMistral},
                {.name = "MixtralForCausalLM",
                 .window_by_default = true,
                 .has_experts = true,
                 .absent = kAbsentOfMixtral},
                {.name = "Mistral3ForConditionalGeneration",
                 .window_by_default = true,
                 .model_type = "mistral",
                 .absent = kAbsentOfMistral},
                {"LlavaForConditionalGeneration", false, "llama"},
                {.name = "LlavaForConditionalGeneration",
                 .window_by_default = true,
                 .model_type = "mistral",
                 .absent = kAbsentOfMistral},
                {"Idefics3ForConditionalGeneration", false, "llama"},
                {"SmolVLMForConditionalGeneration", false, "llama"}},
    .layer = {hf::kTwoNorms, hf::kBiasedAttention},
    .dense = {hf::kBiasedMlp},
    .experts = {kExperts, hf::kRouter, hf::kStackedExperts},
    .reorders_heads = true,
    .computed = {.rope_freqs = true},
    .writes_n_rot = true,
};

}  // namespace

extern const Architecture kLlama = {
    .name = "llama",
    .models = "Llama 1, 2 and 3, Mistral, Mixtral, TinyLlama, SmolLM, OpenLLaMA",
    .rope_style = RopeStyle::interleaved,
    .read =
        [](const Keys& keys, ModelConfig& c) {
          read_experts(keys, c, Gating::softmax, true, Mixture::where_the_file_has_one);
        },
    .layer =
        [](const ModelConfig& c, int64_t i) {
          return pre_norm_layer(c, attention(c, i), mlp_or_experts(c, i, Activation::silu));
        },
    .hf = &kHf,
};

}  // namespace lora
