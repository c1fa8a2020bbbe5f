// Qwen 3.5 and 3.6: gated delta nets, and gated attention in every fourth layer.
#include "arch/delta_blocks.h"

namespace lora {
namespace {

constexpr HfFamily kHf = {
    .classes = {{"Qwen3_5ForCausalLM"},
                {.name = "Qwen3_5ForConditionalGeneration", .model_type = "qwen3_5_text"}},
    .layer = {hf::kDeltaNorms},
    .attention = {hf::kGatedAttention},
    .recurrent = {hf::kDeltaNet},
    .dense = {hf::kMlp},
    .ahead = hf::kDeltaAhead,
    .ahead_prefix = "mtp.",
    .head_dim = 256,
    .norms_lack_one = true,
    .computed = {.recurrent = "linear_attention", .partial_rotary = true},
    .defaults = {.n_head_kv = 4, .rotary_part = 0.25},
    .writes_n_rot = true,
    .read = read_hf_delta_net,
    .write_keys = write_delta_net_and_section_keys,
};

}  // namespace

extern const Architecture kQwen35 = {
    .name = "qwen35",
    .models = "Qwen 3.5 and 3.6",
    .read =
        [](const Keys& keys, ModelConfig& c) {
          skip_last_layers(keys, c);
          read_delta_net(keys, c, true);
        },
    .layer = [](const ModelConfig& c,
                int64_t i) { return delta_layer(c, i, false, {gated_mlp(c, Activation::silu)}); },
    .hf = &kHf,
};

}  // namespace lora
