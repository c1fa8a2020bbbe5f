// Falcon-H1: attention and Mamba-2 side by side behind one norm, then an MLP. The factors that its
// configuration has are in the weights of GGUF.
#include <cmath>
#include <string_view>

#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/error.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer = pre_norm_layer(c, attention(c, i), gated_mlp(c, Activation::silu));
  Mamba2Spec mamba = mamba2(c);
  mamba.norm.may_be_absent = true;
  layer[0].bodies.emplace_back(std::move(mamba));
  return layer;
}

constexpr auto kMamba = hf::mamba2_modules(hf::kMambaNames, "mamba_conv_bias", true);
constexpr HfModule kNorms[] = {
    {"input_layernorm", "attn_norm", Dim::none, Dim::embd},
    // As llama.cpp has it, without an ending.
    {.hf = "pre_ff_layernorm", .gguf = "ffn_norm", .n_in = Dim::embd, .gguf_end = ""},
};
constexpr HfModule kMlp[] = {
    {"feed_forward.gate_proj", "ffn_gate", Dim::ff, Dim::embd},
    {"feed_forward.up_proj", "ffn_up", Dim::ff, Dim::embd},
    {"feed_forward.down_proj", "ffn_down", Dim::embd, Dim::ff},
};
constexpr HfModule kRoot[] = {
    hf::kRoot[0],
    {"final_layernorm", "output_norm", Dim::none, Dim::embd},
    hf::kRoot[2],
};

constexpr HfList<const char*, 9> kFactors = {
    "embedding_multiplier",     "lm_head_multiplier", "attention_in_multiplier",
    "attention_out_multiplier", "key_multiplier",     "ssm_in_multiplier",
    "ssm_out_multiplier",       "mlp_multipliers",    "ssm_multipliers"};

constexpr HfMamba2Keys kKeys = {.n_conv = {"mamba_d_conv", 4},
                                .n_state = {"mamba_d_state", 256},
                                .n_head = {"mamba_n_heads", 128},
                                .n_group = {"mamba_n_groups", 1},
                                .head_dim = {"mamba_d_head", 0}};

void read_hf(HfConfig& config) {
  hf::read_mamba2(config, kKeys);
  const int64_t n_inner = config.count("mamba_d_ssm", 0);
  if (n_inner > 0) {
    hf::finish_mamba2(config, kKeys, "mamba_d_ssm", n_inner);
  } else {
    hf::finish_mamba2(config, kKeys, "mamba_expand", config.count("mamba_expand", 2) * config.n_embd);
  }
  if (config.flag("mamba_rms_norm", false) && config.flag("mamba_norm_before_gate", true))
    fail("{}: mamba_norm_before_gate: true: GGUF's falcon-h1 has the norm behind the gate", config.path);
  for (const char* key : kFactors) {
    const auto list = config.number_lists.find(key);
    const auto number = config.numbers.find(key);
    const bool is_list = list != config.number_lists.end(), is_number = number != config.numbers.end();
    std::vector<double> values = {is_number ? number->second : 1};
    if (is_list) values = list->second;
    const size_t n = key == std::string_view("mlp_multipliers")   ? 2
                     : key == std::string_view("ssm_multipliers") ? 5
                                                                  : 1;
    const bool is_other = config.no_numbers.contains(key) && !is_list;
    if (is_other || (is_number && n > 1) || (is_list && n == 1))
      fail("{}: {}: expected {}", config.path, key, n == 1 ? "a number" : fmt::format("{} numbers", n));
    if (is_list && values.size() != n)
      fail("{}: {}: {} numbers, expected {}", config.path, key, values.size(), n);
    for (const double value : values) {
      if (value == 0 || !std::isfinite(float(value)))
        fail("{}: {}: {} makes no sense", config.path, key, value);
    }
  }
  config.states_head_dim = true;
}

// What the class multiplies by, as llama.cpp's converter folds it into the rows of weights: of one factor
// all.
std::vector<RowFactors> row_factors(const HfConfig& config, const HfModule& module) {
  const auto one = [&](const char* key) { return float(config.number(key).value_or(1)); };
  const auto of_list = [&](const char* key, size_t i) {
    const auto found = config.number_lists.find(key);
    return found == config.number_lists.end() || i >= found->second.size() ? 1.0f : float(found->second[i]);
  };
  const std::string_view gguf = module.gguf;
  if (gguf == "token_embd") return {{one("embedding_multiplier"), 1}};
  if (gguf == "output") return {{one("lm_head_multiplier"), 1}};
  if (gguf == "attn_q" || gguf == "attn_v") return {{one("attention_in_multiplier"), 1}};
  if (gguf == "attn_k") return {{one("key_multiplier"), one("attention_in_multiplier")}};
  if (gguf == "attn_output") return {{one("attention_out_multiplier"), 1}};
  if (gguf == "ffn_gate") return {{of_list("mlp_multipliers", 0), 1}};
  if (gguf == "ffn_down") return {{of_list("mlp_multipliers", 1), 1}};
  if (gguf == "ssm_out") return {{one("ssm_out_multiplier"), 1}};
  if (gguf != "ssm_in") return {};
  std::vector<RowFactors> factors;
  const HfSsm& ssm = config.ssm;
  const int64_t n_bc = ssm.n_group * ssm.n_state;
  size_t part = 0;
  for (const int64_t n : {ssm.n_inner, ssm.n_inner, n_bc, n_bc, ssm.n_head})
    factors.insert(factors.end(), size_t(n), {one("ssm_in_multiplier"), of_list("ssm_multipliers", part++)});
  return factors;
}

constexpr HfDefault kAbsent[] = {
    {"mamba_d_ssm", "1024"}, {"num_key_value_heads", "8"}, {"max_position_embeddings", "8192"}};
constexpr HfFamily kHf = {
    .classes = {{"FalconH1ForCausalLM"}},
    .layer = {kNorms, hf::kUnbiasedAttention, kMamba, kMlp},
    .root = kRoot,
    .computed = {.steps = true},
    .defaults = {.norm_eps = 1e-5},
    .absent = kAbsent,
    .refused = {{"attention_bias", true, "has none"},
                {"mlp_bias", true, "has none"},
                {"mamba_proj_bias", true, "has none"},
                {"projectors_bias", true, "has none"}},
    .read = read_hf,
    .write_keys = hf::write_mamba2_keys,
    .row_factors = row_factors,
    .factor_keys = kFactors,
};

}  // namespace

extern const Architecture kFalconH1 = {
    .name = "falcon-h1",
    .models = "Falcon-H1",
    .read = read_mamba2,
    .gradient_bytes = GradientBytes::two,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
