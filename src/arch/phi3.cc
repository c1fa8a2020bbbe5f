// Phi-3, 3.5, 4 and 4-mini: as Llama, with q, k and v as rows of one tensor and gate and up of another; a
// part of each head is turned, in long-context models by factors that the context chooses (LongRoPE). A
// window, where the file gives one, is on all layers, as in the models' own code.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"

namespace lora {
namespace {

void read(const Keys& keys, ModelConfig& c) {
  c.fused_qkv = c.fused_gate_up = true;
  read_window(keys, c, 0);
}

constexpr HfModule kFusedAttention[] = {
    {"self_attn.qkv_proj", "attn_qkv", Dim::qkv, Dim::embd},
    {"self_attn.o_proj", "attn_output", Dim::embd, Dim::heads},
};

void write_keys(GgufWriter& writer, const HfConfig& config) {
  writer.set_u32("phi3.attention.sliding_window", uint32_t(config.sliding_window.value_or(0)));
  write_longrope_keys(writer, config);
}

constexpr HfDefault kAbsent[] = {{"original_max_position_embeddings", "4096"}};
constexpr HfFamily kHf = {
    .classes = {{"Phi3ForCausalLM", true}},
    .layer = {hf::kTwoNorms, kFusedAttention, hf::kFusedMlp, hf::kApart, hf::kMlpApart},
    .computed = {.own_window = true, .rope_factors = true, .partial_rotary = true},
    .defaults = {.norm_eps = 1e-5},
    .absent = kAbsent,
    .writes_n_rot = true,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kPhi3 = {
    .name = "phi3",
    .models = "Phi-3, 3.5, 4 and 4-mini",
    .read = read,
    .layer = [](const ModelConfig& c,
                int64_t i) { return pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu)); },
    .hf = &kHf,
};

}  // namespace lora
