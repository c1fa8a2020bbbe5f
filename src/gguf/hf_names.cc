#include "gguf/hf_names.h"

#include <algorithm>

#include "base/numbers.h"

namespace lora {
namespace {

constexpr HfModule kAttention[] = {
    {"self_attn.q_proj", "attn_q", Dim::heads, Dim::embd, RowOrder::heads, true},
    {"self_attn.k_proj", "attn_k", Dim::kv_heads, Dim::embd, RowOrder::kv_heads, true},
    {"self_attn.v_proj", "attn_v", Dim::kv_heads, Dim::embd, RowOrder::as_is, true},
    {"self_attn.o_proj", "attn_output", Dim::embd, Dim::heads, RowOrder::as_is, true},
};
constexpr HfModule kFusedAttention[] = {
    {"self_attn.qkv_proj", "attn_qkv", Dim::qkv, Dim::embd},
    {"self_attn.o_proj", "attn_output", Dim::embd, Dim::heads},
};
constexpr HfModule kHeadNorms[] = {
    {"self_attn.q_norm", "attn_q_norm", Dim::none, Dim::head},
    {"self_attn.k_norm", "attn_k_norm", Dim::none, Dim::head},
};
constexpr HfModule kMlp[] = {
    {"mlp.gate_proj", "ffn_gate", Dim::ff, Dim::embd, RowOrder::as_is, true},
    {"mlp.up_proj", "ffn_up", Dim::ff, Dim::embd, RowOrder::as_is, true},
    {"mlp.down_proj", "ffn_down", Dim::embd, Dim::ff, RowOrder::as_is, true},
};
constexpr HfModule kFusedMlp[] = {
    {"mlp.gate_up_proj", "ffn_up", Dim::two_ff, Dim::embd},
    {"mlp.down_proj", "ffn_down", Dim::embd, Dim::ff},
};
constexpr HfModule kTwoNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    {"post_attention_layernorm", "ffn_norm", Dim::none, Dim::embd},
};
// Before and after attention and MLP.
constexpr HfModule kFourNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    {"post_attention_layernorm", "post_attention_norm", Dim::none, Dim::embd},
    {"pre_feedforward_layernorm", "ffn_norm", Dim::none, Dim::embd},
    {"post_feedforward_layernorm", "post_ffw_norm", Dim::none, Dim::embd},
};
constexpr HfModule kRoot[] = {
    {"embed_tokens", "token_embd", Dim::vocab, Dim::embd},
    {"norm", "output_norm", Dim::none, Dim::embd},
    {"lm_head", "output", Dim::vocab, Dim::embd},
};

}  // namespace

std::span<const HfArchitecture> hf_architectures() {
  static const HfArchitecture rows[] = {
      // Llama 1, 2 and 3, Mistral, SmolLM, TinyLlama and their descendants.
      {.name = "llama",
       .classes = {{"LlamaForCausalLM"}, {"LLaMAForCausalLM"}, {"MistralForCausalLM", true}},
       .layer = {kTwoNorms, kAttention, kMlp},
       .reorders_heads = true,
       .has_all_biases = true,
       .computed = {.rope_freqs = true}},
      {.name = "qwen2", .classes = {{"Qwen2ForCausalLM"}}, .layer = {kTwoNorms, kAttention, kMlp}},
      {.name = "qwen3",
       .classes = {{"Qwen3ForCausalLM"}},
       .layer = {kTwoNorms, kAttention, kHeadNorms, kMlp},
       .head_dim = 128},
      {.name = "gemma2",
       .classes = {{"Gemma2ForCausalLM", true}},
       .layer = {kFourNorms, kAttention, kMlp},
       .head_dim = 256,
       .norms_lack_one = true,
       .always_tied = true,
       .tied_by_default = true,
       .computed = {.activation_key = "hidden_activation",
                    .activation = "gelu_pytorch_tanh",
                    .window_period = 2,
                    .query_scalar = true,
                    .caps_logits = true,
                    .large = 46},
       .defaults = {.sliding_window = 4096}},
      {.name = "gemma3",
       .classes = {{"Gemma3ForCausalLM", true}, {"Gemma3ForConditionalGeneration", true}},
       .layer = {kFourNorms, kAttention, kHeadNorms, kMlp},
       .head_dim = 256,
       .norms_lack_one = true,
       .tied_by_default = true,
       .computed = {.activation_key = "hidden_activation",
                    .activation = "gelu_pytorch_tanh",
                    .window_period = 6,
                    .local_theta = true,
                    .query_scalar = true,
                    .large = 62},
       .defaults = {.n_vocab = 262208,
                    .n_head = 8,
                    .n_head_kv = 4,
                    .n_ctx = 131072,
                    .sliding_window = 4096,
                    .rope_theta = 1e6,
                    .local_theta = 1e4}},
      {.name = "phi3",
       .classes = {{"Phi3ForCausalLM", true}},
       .layer = {kTwoNorms, kFusedAttention, kFusedMlp},
       .computed = {.own_window = true, .rope_factors = true, .partial_rotary = true}},
  };
  return rows;
}

std::span<const HfModule> hf_root_modules() {
  return kRoot;
}

const HfArchitecture* find_hf_architecture(std::string_view name) {
  const auto rows = hf_architectures();
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const HfArchitecture& a) { return a.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

std::optional<HfPlace> find_hf_matrix(const HfArchitecture& arch, std::string_view gguf_tensor) {
  constexpr std::string_view prefix = "blk.", suffix = ".weight";
  if (!gguf_tensor.ends_with(suffix)) return std::nullopt;
  gguf_tensor.remove_suffix(suffix.size());
  HfPlace place;
  const auto look_in = [&](std::span<const HfModule> modules) {
    for (const HfModule& module : modules) {
      if (module.gguf == gguf_tensor && module.n_out != Dim::none) place.module = &module;
    }
  };
  if (gguf_tensor.starts_with(prefix)) {
    gguf_tensor.remove_prefix(prefix.size());
    place.layer = take_number<uint32_t>(gguf_tensor);
    if (!place.layer || !gguf_tensor.starts_with('.')) return std::nullopt;
    gguf_tensor.remove_prefix(1);
    for (const auto& modules : arch.layer) look_in(modules);
  } else {
    look_in(kRoot);
  }
  return place.module ? std::optional(place) : std::nullopt;
}

}  // namespace lora
