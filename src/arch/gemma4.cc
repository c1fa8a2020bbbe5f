// Gemma 4: as Gemma 3 with norms that hold their whole factor, and layers that differ. Those with a window
// have heads of another size than those without, which turn a part of theirs (rope_freqs) and may take keys,
// before their norm, for values; values have a norm without gains; scores have no scale. The last layers may
// attend to keys and values of the last one of their kind before them. Some models tell each layer its token
// again, some have experts beside the MLP, with norms of their own; behind all that a layer scales the
// stream.
#include <algorithm>
#include <cmath>

#include "arch/blocks.h"
#include "arch/hf_config.h"
#include "arch/hf_modules.h"
#include "base/error.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

constexpr int64_t kWindowPeriod = 6;
constexpr std::string_view kSharedLayers = "attention.shared_kv_layers";

bool reads_shared(const ModelConfig& c, int64_t i) {
  return i >= c.n_layer_kv;
}

void read_shared(const Keys& keys, ModelConfig& c) {
  const int64_t n_shared = keys.gguf.get_int(keys.key(kSharedLayers)).value_or(0);
  if (n_shared < 0 || n_shared >= c.n_layer) keys.makes_no_sense(kSharedLayers, n_shared);
  c.n_layer_kv = c.n_layer - n_shared;
  std::array<int64_t, 2> last_with_own = {-1, -1};  // by whether it has a window
  for (int64_t i = 0; i < c.n_layer_kv; ++i) last_with_own[c.has_window(i)] = i;
  for (int64_t i = c.n_layer_kv; i < c.n_layer; ++i) {
    const int64_t writer = last_with_own[c.has_window(i)];
    if (writer < 0 || c.heads_kv(writer) != c.heads_kv(i)) {
      fail("{}: {}: {}: no layer before has keys and values for layer {}", keys.gguf.path(),
           keys.key(kSharedLayers), n_shared, i);
    }
    c.shares_kv[c.has_window(i)] = writer;
    // Files have these nevertheless.
    for (const char* tensor : {"attn_k", "attn_v", "attn_k_norm"})
      c.unused_tensors.insert(fmt::format("blk.{}.{}.weight", i, tensor));
  }
}

void read(const Keys& keys, ModelConfig& c) {
  c.embedding_scale = float(std::sqrt(double(c.n_embd)));
  c.attention_scale = 1;       // whatever the file says, as llama.cpp has it
  constexpr double kCap = 30;  // where the file does not say, as llama.cpp has it; 0: none
  c.logit_softcap = float(keys.number_or("final_logit_softcapping", kCap));
  if (!(c.logit_softcap >= 0) || !std::isfinite(c.logit_softcap))
    keys.makes_no_sense("final_logit_softcapping", c.logit_softcap);
  for (const char* key : {"attention.sliding_window", "attention.sliding_window_pattern"}) {
    if (!keys.gguf.find(keys.key(key))) fail("{}: {}: missing", keys.gguf.path(), keys.key(key));
  }
  read_window(keys, c, kWindowPeriod);
  if (c.window == 0) keys.makes_no_sense("attention.sliding_window", c.window);
  c.head_dim_swa = keys.size("attention.key_length_swa").value_or(c.head_dim);
  if (const auto n = keys.size("attention.value_length_swa"); n && *n != c.head_dim_swa)
    keys.makes_no_sense("attention.value_length_swa", *n);
  c.rope_swa = RopeParameters{.n_rot = keys.size("rope.dimension_count_swa").value_or(c.head_dim_swa),
                              .freq_base = keys.positive_or("rope.freq_base_swa", 10000)};
  if (c.rope_swa->n_rot % 2 != 0 || c.rope_swa->n_rot > c.head_dim_swa)
    keys.makes_no_sense("rope.dimension_count_swa", c.rope_swa->n_rot);
  c.needs_rope_freqs = std::ranges::find(c.windowed, false) != c.windowed.end() || c.windowed.empty();
  read_shared(keys, c);
  c.n_embd_per_layer = keys.gguf.get_int(keys.key("embedding_length_per_layer_input")).value_or(0);
  if (c.n_embd_per_layer < 0 || c.n_embd_per_layer > (int64_t{1} << 24))
    keys.makes_no_sense("embedding_length_per_layer_input", c.n_embd_per_layer);
  read_experts(keys, c, Gating::softmax, true, Mixture::where_the_file_has_one);
  c.experts.fused_gate_up = !keys.gguf.find_tensor("blk.0.ffn_gate_exps.weight");
}

AttentionSpec attention_of(const ModelConfig& c, int64_t i) {
  AttentionSpec a = head_normed_attention(c, i);
  a.v.may_be_absent = !c.has_window(i);
  a.v_norm = {.tensor = "", .kind = NormKind::rms, .n = c.head_dim_of(i)};
  const auto slot_of = [&](int64_t layer) { return c.has_window(layer) ? 1 : 0; };
  if (reads_shared(c, i)) {
    a.k = a.v = {};
    a.k_norm = a.v_norm = {};
    a.form.kv_slot = slot_of(i);
    a.form.reads_kv_slot = true;
  }
  if (c.shares_kv[c.has_window(i)] == i) a.form.kv_slot = slot_of(i);
  return a;
}

void add_experts(LayerSpec& layer, const ModelConfig& c) {
  ExpertsSpec e = experts(c, Activation::gelu_tanh);
  e.router_gain = {"ffn_gate_inp.scale", c.n_embd};
  e.expert_scale = {"ffn_down_exps.scale", c.experts.router.n_expert};
  BranchSpec& branch = layer.back();
  branch.bodies.emplace_back(std::move(e));
  branch.before_second = norm(c, "pre_ffw_norm_2");
  branch.after_each = {norm(c, "post_ffw_norm_1"), norm(c, "post_ffw_norm_2")};
}

void add_per_layer_input(LayerSpec& layer, const ModelConfig& c, int64_t i) {
  const int64_t n = c.n_embd_per_layer;
  PerLayerInputSpec p{
      .gate = {.tensor = "inp_gate", .n_out = n, .n_in = c.n_embd},
      .proj = {.tensor = "proj", .n_out = c.n_embd, .n_in = n},
      .model = {.tensor = "per_layer_model_proj", .n_out = n, .n_in = c.n_embd, .first_row = i * n},
      .norm = norm(c, "per_layer_proj_norm", n),
      .table = "per_layer_token_embd",
      .n_columns = c.n_layer * n,
      .column = i * n,
      .activation = Activation::gelu_tanh,
  };
  layer.push_back({.before = {}, .bodies = {std::move(p)}, .after = norm(c, "post_norm")});
}

LayerSpec layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer = sandwich_layer(c, attention_of(c, i), gated_mlp(c, Activation::gelu_tanh, c.ff(i)));
  if (c.experts.router.n_expert > 0) add_experts(layer, c);
  if (c.n_embd_per_layer > 0) add_per_layer_input(layer, c, i);
  layer.back().stream_scale = {.tensor = "layer_output_scale.weight", .n = 1, .may_be_absent = true};
  return layer;
}

bool has_no_keys(const HfConfig& c, int64_t layer) {
  return layer >= c.n_layer_kv;
}
bool has_no_values(const HfConfig& c, int64_t layer) {
  return has_no_keys(c, layer) || (c.flag("attention_k_eq_v", false) && !c.windowed[size_t(layer)]);
}
bool has_no_second_input(const HfConfig& c, int64_t) {
  return c.n_embd_per_layer == 0;
}

constexpr HfModule kGemma4Attention[] = {
    {"self_attn.q_proj", "attn_q", Dim::heads, Dim::embd},
    {.hf = "self_attn.k_proj",
     .gguf = "attn_k",
     .n_out = Dim::kv_heads,
     .n_in = Dim::embd,
     .may_be_absent_in = has_no_keys},
    {.hf = "self_attn.v_proj",
     .gguf = "attn_v",
     .n_out = Dim::kv_heads,
     .n_in = Dim::embd,
     .may_be_absent_in = has_no_values},
    {"self_attn.o_proj", "attn_output", Dim::embd, Dim::heads},
    {"self_attn.q_norm", "attn_q_norm", Dim::none, Dim::head},
    {.hf = "self_attn.k_norm", .gguf = "attn_k_norm", .n_in = Dim::head, .may_be_absent_in = has_no_keys},
};
constexpr HfModule kSecondInput[] = {
    {.hf = "per_layer_input_gate",
     .gguf = "inp_gate",
     .n_out = Dim::embd_per_layer,
     .n_in = Dim::embd,
     .may_be_absent_in = has_no_second_input},
    {.hf = "per_layer_projection",
     .gguf = "proj",
     .n_out = Dim::embd,
     .n_in = Dim::embd_per_layer,
     .may_be_absent_in = has_no_second_input},
    {.hf = "post_per_layer_input_norm",
     .gguf = "post_norm",
     .n_in = Dim::embd,
     .may_be_absent_in = has_no_second_input},
    {.hf = "layer_scalar", .gguf = "layer_output_scale", .n_in = Dim::one, .hf_end = ""},
};
constexpr HfModule kGemma4Experts[] = {
    {.hf = "router.proj",
     .gguf = "ffn_gate_inp",
     .n_out = Dim::experts,
     .n_in = Dim::embd,
     .is_router = true},
    {.hf = "router.scale", .gguf = "ffn_gate_inp", .n_in = Dim::embd, .hf_end = "", .gguf_end = ".scale"},
    {.hf = "router.per_expert_scale",
     .gguf = "ffn_down_exps",
     .n_in = Dim::experts,
     .hf_end = "",
     .gguf_end = ".scale"},
    {.hf = "experts.gate_up_proj",
     .gguf = "ffn_gate_up_exps",
     .n_out = Dim::two_expert_ff,
     .n_in = Dim::embd,
     .stack = Stack::whole,
     .hf_end = ""},
    {.hf = "experts.down_proj",
     .gguf = "ffn_down_exps",
     .n_out = Dim::embd,
     .n_in = Dim::expert_ff,
     .stack = Stack::whole,
     .hf_end = ""},
    {"pre_feedforward_layernorm_2", "pre_ffw_norm_2", Dim::none, Dim::embd},
    {"post_feedforward_layernorm_1", "post_ffw_norm_1", Dim::none, Dim::embd},
    {"post_feedforward_layernorm_2", "post_ffw_norm_2", Dim::none, Dim::embd},
};
constexpr HfModule kGemma4Root[] = {
    hf::kRoot[0],
    {.hf = "embed_tokens_per_layer",
     .gguf = "per_layer_token_embd",
     .n_out = Dim::vocab,
     .n_in = Dim::embd_per_layers,
     .may_be_absent_in = has_no_second_input},
    {.hf = "per_layer_model_projection",
     .gguf = "per_layer_model_proj",
     .n_out = Dim::embd_per_layers,
     .n_in = Dim::embd,
     .may_be_absent_in = has_no_second_input},
    {.hf = "per_layer_projection_norm",
     .gguf = "per_layer_proj_norm",
     .n_in = Dim::embd_per_layer,
     .may_be_absent_in = has_no_second_input},
    hf::kRoot[1],
    hf::kRoot[2],
};

// What the class has where config.json says nothing.
void read_hf(HfConfig& c) {
  constexpr int64_t kGlobalHeadDim = 512, kPerLayer = 256;
  const bool states_types = !c.layer_types.empty();
  for (int64_t i = 0; i < c.n_layer; ++i) {
    const bool by_period = (i + 1) % kWindowPeriod != 0;
    if (states_types && int64_t(c.layer_types.size()) != c.n_layer)
      fail("{}: layer_types: {} for {} layers", c.path, c.layer_types.size(), c.n_layer);
    c.windowed.push_back(states_types ? c.layer_types[size_t(i)] == "sliding_attention" : by_period);
  }
  c.windowed.back() = false;  // as the class has it, whatever is said
  c.n_layer_kv = c.n_layer - c.count("num_kv_shared_layers", 0, 0);
  if (c.n_layer_kv < 1)
    fail("{}: num_kv_shared_layers: {} of {} makes no sense", c.path, c.n_layer - c.n_layer_kv, c.n_layer);
  const int64_t full = c.count("global_head_dim", kGlobalHeadDim);
  const bool k_eq_v = c.flag("attention_k_eq_v", false);
  const int64_t kv_full = k_eq_v ? c.count("num_global_key_value_heads", c.n_head_kv) : c.n_head_kv;
  const bool wide = c.flag("use_double_wide_mlp", false);
  if (full % 2 != 0) fail("{}: global_head_dim: {} is odd", c.path, full);
  if (c.n_head % kv_full != 0) {
    fail("{}: num_attention_heads: {} is not divided by {} key/value heads", c.path, c.n_head, kv_full);
  }
  for (int64_t i = 0; i < c.n_layer; ++i) {
    const bool windowed = c.windowed[size_t(i)];
    c.head_dim_of.push_back(windowed ? c.head_dim : full);
    c.n_head_kv_of.push_back(windowed ? c.n_head_kv : kv_full);
    c.n_ff_of.push_back(wide && i >= c.n_layer_kv ? 2 * c.n_ff : c.n_ff);
  }
  c.head_dim_swa = c.head_dim;
  c.head_dim = full;
  c.states_head_dim = true;
  c.n_embd_per_layer = c.count("hidden_size_per_layer_input", kPerLayer, 0);
  const int64_t n_looked_up = c.count("vocab_size_per_layer_input", 262144);
  if (c.n_embd_per_layer > 0 && n_looked_up != c.n_vocab) {
    fail("{}: vocab_size_per_layer_input: {}: GGUF's gemma4 has as many as tokens, {}", c.path, n_looked_up,
         c.n_vocab);
  }
  if (c.flag("enable_moe_block", false)) {
    c.n_expert = c.count("num_experts");
    c.n_expert_used = c.count("top_k_experts");
    c.n_expert_ff = c.count("moe_intermediate_size");
    if (c.n_expert > 4096 || c.n_expert_used > c.n_expert)
      fail("{}: top_k_experts: {} of {} experts make no sense", c.path, c.n_expert_used, c.n_expert);
  }
  HfRope& rope = c.rope;
  if (!rope.is_stated) rope.type = "proportional", rope.rotary_part = 0.25;
  c.rotary_part = rope.rotary_part.value_or(1);
  if (rope.type != "proportional" || rope.factor != 1) {
    fail(
        "{}: rope_parameters: full_attention: type '{}', factor {}: GGUF's gemma4 has proportional alone, "
        "without a factor",
        c.path, rope.type, rope.factor);
  }
}

void write_keys(GgufWriter& writer, const HfConfig& c) {
  const auto size = [&](const char* key, int64_t n) {
    writer.set_u32(std::string("gemma4.") + key, uint32_t(n));
  };
  const auto sizes = [&](const char* key, const std::vector<int64_t>& of_layers) {
    writer.set(std::string("gemma4.") + key, {GgufValueType::array, GgufValueType::i32, of_layers});
  };
  size("attention.sliding_window", c.sliding_window.value_or(512));
  writer.set("gemma4.attention.sliding_window_pattern",
             {GgufValueType::array, GgufValueType::boolean,
              std::vector<uint64_t>(c.windowed.begin(), c.windowed.end())});
  size("attention.shared_kv_layers", c.n_layer - c.n_layer_kv);
  size("embedding_length_per_layer_input", c.n_embd_per_layer);
  size("attention.key_length_swa", c.head_dim_swa);
  size("attention.value_length_swa", c.head_dim_swa);
  size("rope.dimension_count", c.head_dim);
  size("rope.dimension_count_swa", c.head_dim_swa);
  writer.set_f32("gemma4.rope.freq_base_swa", float(c.rope.local_theta.value_or(10000)));
  writer.set_f32("gemma4.final_logit_softcapping", float(c.final_softcap.value_or(0)));
  if (c.n_expert > 0) size("expert_feed_forward_length", c.n_expert_ff);
  if (c.flag("use_double_wide_mlp", false)) sizes("feed_forward_length", c.n_ff_of);
  if (c.flag("attention_k_eq_v", false) && c.number("num_global_key_value_heads"))
    sizes("attention.head_count_kv", c.n_head_kv_of);
}

constexpr HfFamily kHf = {
    .classes = {{"Gemma4ForCausalLM", true},
                {"Gemma4TextModel", true},
                {"Gemma4ForConditionalGeneration", true}},
    .layer = {hf::kFourNorms, kGemma4Attention, hf::kMlp, kSecondInput},
    .experts = {kGemma4Experts},
    .root = kGemma4Root,
    .head_dim = 256,
    .tied_by_default = true,
    .no_space_prefix = true,
    .merges_as = "gemma4",
    // As llama.cpp's conversion has them.
    .seen_tokens = {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>",
                    "<tool_response|>", "<|\"|>"},
    .computed = {.activation_key = "hidden_activation",
                 .activation = "gelu_pytorch_tanh",
                 .own_window = true,
                 .local_theta = true,
                 .partial_rotary = true},
    .defaults = {.n_vocab = 262144,
                 .n_head = 8,
                 .n_head_kv = 4,
                 .n_ctx = 131072,
                 .sliding_window = 512,
                 .rope_theta = 1e6,
                 .local_theta = 1e4},
    .read = read_hf,
    .write_keys = write_keys,
};

}  // namespace

extern const Architecture kGemma4 = {
    .name = "gemma4",
    .models = "Gemma 4",
    .layers_differ = true,
    .read = read,
    .layer = layer,
    .hf = &kHf,
};

}  // namespace lora
