// Nemotron-H: each layer is one of Mamba-2, attention without positions, and an MLP with squared ReLU.
#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/error.h"
#include "base/printable.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer = {{.before = norm(c, "attn_norm"), .bodies = {}}};
  if (c.ff(i) > 0) {
    layer[0].bodies.emplace_back(plain_mlp(c, Activation::relu_squared, false, c.ff(i)));
  } else if (c.heads_kv(i) > 0) {
    layer[0].bodies.emplace_back(attention(c, i));
  } else {
    layer[0].bodies.emplace_back(mamba2(c));
  }
  return layer;
}

constexpr auto kMamba = hf::mamba2_modules(hf::kMixerNames, "use_conv_bias");
constexpr HfModule kNorm[] = {{"norm", "attn_norm", Dim::none, Dim::embd}};
constexpr HfModule kAttention[] = {
    {"mixer.q_proj", "attn_q", Dim::heads, Dim::embd, RowOrder::heads},
    {"mixer.k_proj", "attn_k", Dim::kv_heads, Dim::embd, RowOrder::kv_heads},
    {"mixer.v_proj", "attn_v", Dim::kv_heads, Dim::embd},
    {"mixer.o_proj", "attn_output", Dim::embd, Dim::heads},
};
constexpr HfModule kMlp[] = {
    {"mixer.up_proj", "ffn_up", Dim::ff, Dim::embd},
    {"mixer.down_proj", "ffn_down", Dim::embd, Dim::ff},
};
constexpr HfModule kRoot[] = {
    {"embeddings", "token_embd", Dim::vocab, Dim::embd},
    {"norm_f", "output_norm", Dim::none, Dim::embd},
    {"lm_head", "output", Dim::vocab, Dim::embd},
};

// What each layer is: M, * and - of hybrid_override_pattern, or the words of layers_block_type, of today or
// of the first folders.
void read_hf(HfConfig& config) {
  hf::read_mamba2(config, {.n_conv = {"conv_kernel", 4},
                           .n_state = {"ssm_state_size", 128},
                           .n_head = {"mamba_num_heads", 128},
                           .n_group = {"n_groups", 8},
                           .head_dim = {"mamba_head_dim", 64}});
  std::vector<std::string> types;
  if (const auto* found = config.words("layers_block_type")) types = *found;
  if (types.empty()) {
    for (const char c : config.text("hybrid_override_pattern"))
      types.push_back(c == 'M' ? "mamba" : c == '*' ? "attention" : c == '-' ? "mlp" : std::string(1, c));
  }
  config.attends.clear();
  if (!types.empty() && int64_t(types.size()) != config.n_layer) {
    fail("{}: hybrid_override_pattern: {} layers, num_hidden_layers is {}", config.path, types.size(),
         config.n_layer);
  }
  for (std::string& type : types) {
    if (type == "linear_attention") type = "mamba";
    if (type == "full_attention") type = "attention";
    if (type != "mamba" && type != "attention" && type != "mlp") {
      fail("{}: hybrid_override_pattern: layers of type '{}' are not supported", config.path,
           printable(type));
    }
    config.attends.push_back(type == "attention");
    config.is_mlp.push_back(type == "mlp");
  }
  if (const std::string act = config.text("mamba_hidden_act"); !act.empty() && act != "silu")
    fail("{}: mamba_hidden_act: {}: GGUF's nemotron_h computes silu", config.path, printable(act));
  config.n_ctx = int64_t{1} << 20;  // as llama.cpp's converter has it where nothing tells positions
}

void write_keys(GgufWriter& writer, const HfConfig& config) {
  if (config.is_mlp.empty()) fail("{}: hybrid_override_pattern: missing", config.path);
  hf::write_mamba2_keys(writer, config);
  writer.set_bool("nemotron_h.rope.scaling.finetuned", false);
  // llama.cpp asks for both.
  writer.set_f32("nemotron_h.attention.layer_norm_epsilon", float(config.norm_eps));
  std::vector<int64_t> n_ff;
  for (int64_t i = 0; i < config.n_layer; ++i) n_ff.push_back(config.has_mlp(i) ? config.n_ff : 0);
  writer.set("nemotron_h.feed_forward_length", {GgufValueType::array, GgufValueType::i32, std::move(n_ff)});
}

constexpr HfDefault kAbsent[] = {{"num_key_value_heads", "8"}};
constexpr HfFamily kHf = {
    .classes = {{"NemotronHForCausalLM"}},
    .layer = {kNorm},
    .attention = {kAttention},
    .recurrent = {kMamba},
    .dense = {kMlp},
    .root = kRoot,
    .prefix = "backbone.",
    .norm_eps = "layer_norm_epsilon",
    .reorders_heads = true,
    .head_dim = 128,
    .computed = {.activation_key = "mlp_hidden_act", .activation = "relu2", .steps = true},
    .defaults = {.n_vocab = 131072, .norm_eps = 1e-5},
    .absent = kAbsent,
    .refused = {{"use_bias", true, "has none"},
                {"attention_bias", true, "has none"},
                {"mlp_bias", true, "has none"},
                {"mamba_proj_bias", true, "has none"}},
    .writes_n_rot = true,
    .writes_kv_by_layer = true,
    .read = read_hf,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kNemotronH = {
    .name = "nemotron_h",
    .models = "Nemotron-H, Nemotron Nano 2",
    .has_rope = HasRope::no,
    .layers_differ = true,
    .read = read_mamba2,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
