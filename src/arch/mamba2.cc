// Mamba-2: nothing but layers with a state, without attention and MLPs.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/error.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t) {
  return {{.before = norm(c, "attn_norm"), .bodies = {mamba2(c)}}};
}

constexpr auto kMamba = hf::mamba2_modules(hf::kMixerNames, "use_conv_bias");
constexpr HfModule kNorm[] = {{"norm", "attn_norm", Dim::none, Dim::embd}};
constexpr HfModule kRoot[] = {
    {"embeddings", "token_embd", Dim::vocab, Dim::embd},
    {"norm_f", "output_norm", Dim::none, Dim::embd},
    {"lm_head", "output", Dim::vocab, Dim::embd},
};

constexpr HfMamba2Keys kKeys = {.n_conv = {"conv_kernel", 4},
                                .n_state = {"state_size", 128},
                                .n_head = {"num_heads", 128},
                                .n_group = {"n_groups", 8},
                                .head_dim = {"head_dim", 64},
                                .norm_may_differ = true};

void read_hf(HfConfig& config) {
  hf::read_mamba2(config, kKeys);
  hf::finish_mamba2(config, kKeys, "expand", config.count("expand", 2) * config.n_embd);
  config.n_ctx = int64_t{1} << 20;  // none is stated anywhere; as llama.cpp's converter has it
}

constexpr HfFamily kHf = {
    .classes = {{"Mamba2ForCausalLM"}},
    .layer = {kNorm, kMamba},
    .root = kRoot,
    .prefix = "backbone.",
    .norm_eps = "layer_norm_epsilon",
    .has_rope = false,
    .has_attention = false,
    .tied_by_default = false,
    .computed = {.steps = true},
    .defaults = {.n_vocab = 32768, .norm_eps = 1e-5},
    .refused = {{"use_bias", true, "has none"}, {"rms_norm", false, "has norms"}},
    .read = read_hf,
    .write_keys = hf::write_mamba2_keys,
};

}  // namespace

extern const Architecture kMamba2 = {
    .name = "mamba2",
    .models = "Mamba-2, Codestral Mamba",
    .has_rope = HasRope::no,
    .layers_differ = true,
    .read = read_mamba2,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
