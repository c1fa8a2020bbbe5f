#include "arch/delta_blocks.h"

#include <cmath>
#include <utility>

#include "arch/hf_config.h"
#include "base/error.h"
#include "gguf/gguf.h"
#include "kernels/conv/conv.h"

namespace lora {
namespace {

DeltaNetSpec delta_net(const ModelConfig& c, bool fused_gates) {
  const DeltaNetForm& form = c.delta_net;
  const int64_t n_v = form.n_v(), n_gates = form.n_gates();
  DeltaNetSpec spec{
      .qkv = {.tensor = "attn_qkv", .n_out = form.n_qkv(), .n_in = c.n_embd},
      .z = {.tensor = "attn_gate", .n_out = n_v, .n_in = c.n_embd},
      .beta = {.tensor = fused_gates ? "ssm_ba" : "ssm_beta",
               .n_out = fused_gates ? 2 * n_gates : n_gates,
               .n_in = c.n_embd},
      .alpha = {},
      .o = {.tensor = "ssm_out", .n_out = c.n_embd, .n_in = n_v},
      .norm = norm(c, "ssm_norm", form.shape.dim_v),
      .conv = {"ssm_conv1d.weight", form.d_conv, form.n_qkv()},
      .a = {.tensor = "ssm_a", .n = n_gates, .fades = true},
      .dt_bias = {"ssm_dt.bias", n_gates},
      .form = form,
  };
  if (!fused_gates) spec.alpha = {.tensor = "ssm_alpha", .n_out = n_gates, .n_in = c.n_embd};
  return spec;
}

AttentionSpec gated_attention(const ModelConfig& c, int64_t i) {
  AttentionSpec a = head_normed_attention(c, i);
  a.q.n_out *= 2;
  a.form.output_gate = true;
  return a;
}

constexpr int64_t kInterval = 4;  // every so many layers one has attention, where nothing else is said

}  // namespace

void read_delta_net(const Keys& keys, ModelConfig& c, bool in_turn) {
  DeltaNetForm& form = c.delta_net;
  DeltaRuleShape& s = form.shape;
  form.d_conv = keys.required_size("ssm.conv_kernel");
  if (form.d_conv > kMaxConv) keys.makes_no_sense("ssm.conv_kernel", form.d_conv);
  s.dim_k = keys.required_size("ssm.state_size");
  s.n_head_k = keys.required_size("ssm.group_count");
  s.n_head_v = keys.required_size("ssm.time_step_rank");
  constexpr int64_t kMost = 1 << 20;  // so that products stay within 64 bits
  for (const auto& [name, n] : {std::pair<const char*, int64_t>{"ssm.state_size", s.dim_k},
                                {"ssm.group_count", s.n_head_k},
                                {"ssm.time_step_rank", s.n_head_v}}) {
    if (n > kMost) keys.makes_no_sense(name, n);
  }
  if (s.n_head_v % s.n_head_k != 0) keys.makes_no_sense("ssm.time_step_rank", s.n_head_v);
  const int64_t n_v = keys.required_size("ssm.inner_size");
  if (n_v % s.n_head_v != 0) keys.makes_no_sense("ssm.inner_size", n_v);
  s.dim_v = n_v / s.n_head_v;
  s.in_turn = in_turn;
  s.scale = float(1 / std::sqrt(double(s.dim_k)));
  c.fused_qkv = false;  // attn_qkv is the delta net's

  const int64_t interval = keys.size("full_attention_interval").value_or(kInterval);
  const std::vector<bool> recurrent =
      keys.flags_of_layers("attention.recurrent_layers", c.n_layer + c.n_layer_skipped);
  for (int64_t i = 0; i < c.n_layer; ++i) c.recurrent.push_back((i + 1) % interval != 0);
  if (!recurrent.empty()) {
    const std::vector<bool> of_blocks(recurrent.begin(), recurrent.begin() + c.n_layer);
    if (of_blocks != c.recurrent && keys.gguf.find(keys.key("full_attention_interval"))) {
      c.notes.push_back(fmt::format("{}: {} is not what {} says, which is gone by",
                                    keys.key("full_attention_interval"), interval,
                                    keys.key("attention.recurrent_layers")));
    }
    c.recurrent = of_blocks;
  }
  // Four parts of the pairs that turn, with a position each: that of time, of height ... In text they agree.
  keys.gguf.get_ints(keys.key("rope.dimension_sections"));
  keys.asked_for.insert("rope.dimension_sections");
}

LayerSpec delta_layer(const ModelConfig& c, int64_t i, bool fused_gates, Bodies mlp) {
  LayerSpec layer = pre_norm_layer(c, gated_attention(c, i), std::move(mlp));
  if (c.recurrent[size_t(i)]) layer[0].bodies = {delta_net(c, fused_gates)};
  layer[1].before = norm(c, "post_attention_norm");
  return layer;
}

Bodies gated_experts(const ModelConfig& c) {
  Bodies mlp = {experts(c, Activation::silu)};
  if (c.experts.n_ff_shared > 0) mlp.emplace_back(gated_shared_expert(c, Activation::silu));
  return mlp;
}

void read_hf_delta_net(HfConfig& config) {
  const auto size = [&](const char* key, int64_t standard) {
    const int64_t n = config.count(key, standard);
    if (n > (1 << 20)) fail("{}: {}: {} makes no sense", config.path, key, n);
    return n;
  };
  // What the classes have by default.
  config.delta = {size("linear_num_key_heads", 16), size("linear_num_value_heads", 32),
                  size("linear_key_head_dim", 128), size("linear_value_head_dim", 128)};
  config.n_conv = size("linear_conv_kernel_dim", 4);
  if (config.n_conv > kMaxConv)
    fail("{}: linear_conv_kernel_dim: {} makes no sense", config.path, config.n_conv);
  if (config.delta.n_v % config.delta.n_k != 0) {
    fail("{}: linear_num_value_heads: {} is not divided by {} key heads", config.path, config.delta.n_v,
         config.delta.n_k);
  }
  if (const auto n = config.number("mtp_num_hidden_layers"); n && !config.architecture->hf->ahead.empty()) {
    if (*n < 0 || *n > 64 || *n != std::floor(*n))
      fail("{}: mtp_num_hidden_layers: {} makes no sense", config.path, *n);
    config.n_ahead = int64_t(*n);
  }
  const int64_t interval = size("full_attention_interval", kInterval);
  if (config.attends.empty()) {
    for (int64_t i = 0; i < config.n_layer; ++i) config.attends.push_back((i + 1) % interval == 0);
  }
}

void write_delta_net_keys(GgufWriter& writer, const HfConfig& config) {
  const std::string prefix = fmt::format("{}.", config.architecture->name);
  const DeltaHeads& d = config.delta;
  for (const auto& [name, value] :
       {std::pair<const char*, int64_t>{"ssm.conv_kernel", config.n_conv},
        {"ssm.state_size", d.dim_k},
        {"ssm.group_count", d.n_k},
        {"ssm.time_step_rank", d.n_v},
        {"ssm.inner_size", d.n_v * d.dim_v},
        {"full_attention_interval", config.count("full_attention_interval", kInterval)}}) {
    writer.set_u32(prefix + name, uint32_t(value));
  }
  std::vector<uint64_t> recurrent;
  for (const bool attends : config.attends) recurrent.push_back(!attends);
  recurrent.resize(size_t(config.n_layer + config.n_ahead));  // those ahead have attention
  writer.set(prefix + "attention.recurrent_layers",
             {GgufValueType::array, GgufValueType::boolean, std::move(recurrent)});
}

void write_delta_net_and_section_keys(GgufWriter& writer, const HfConfig& config) {
  write_delta_net_keys(writer, config);
  std::vector<int64_t> sections = {11, 11, 10};
  if (const auto* found = config.whole_numbers("rope.mrope_section")) sections = *found;
  sections.resize(4);
  writer.set(fmt::format("{}.rope.dimension_sections", config.architecture->name),
             {GgufValueType::array, GgufValueType::i32, std::move(sections)});
}

}  // namespace lora
