// LFM2: short convolutions in most layers, attention with a norm on each head of queries and keys in some.
#include "arch/lfm2.h"

#include <string>

#include "base/error.h"
#include "gguf/gguf.h"

namespace lora {

void read_lfm2(const Keys& keys, ModelConfig& c) {
  if (const auto n = keys.gguf.get_int(keys.key("attention.sliding_window")); n && *n > 0)
    fail("{}: {}: {} is not supported", keys.gguf.path(), keys.key("attention.sliding_window"), *n);
  c.n_conv = keys.required_size("shortconv.l_cache");
  if (c.n_conv > kMaxConv) {
    fail("{}: {}: {} is not supported (at most {})", keys.gguf.path(), keys.key("shortconv.l_cache"),
         c.n_conv, kMaxConv);
  }
  for (int64_t i = 0; i < c.n_layer; ++i) {
    if (c.ff(i) == 0) keys.makes_no_sense("feed_forward_length", c.ff(i));
  }
}

LayerSpec lfm2_layer(const ModelConfig& c, int64_t i) {
  LayerSpec layer = pre_norm_layer(c, AttentionSpec(), mlp_or_experts(c, i, Activation::silu));
  if (c.heads_kv(i) > 0) {
    layer[0].bodies = {head_normed_attention(c, i)};
  } else {
    layer[0].bodies = {ShortConvSpec{
        .in = {.tensor = "shortconv.in_proj", .n_out = 3 * c.n_embd, .n_in = c.n_embd},
        .conv = {"shortconv.conv.weight", c.n_conv, c.n_embd},
        .out = {.tensor = "shortconv.out_proj", .n_out = c.n_embd, .n_in = c.n_embd},
    }};
  }
  return layer;
}

namespace hf {

void read_lfm2(HfConfig& config) {
  config.n_conv = config.count("conv_L_cache", 3);
  if (config.n_conv > kMaxConv)
    fail("{}: conv_L_cache: {} taps are not supported (at most {})", config.path, config.n_conv, kMaxConv);
  // Its older name.
  if (const auto theta = config.number("theta");
      theta > 0 && !config.number("rope_theta") && !config.number("rope.rope_theta"))
    config.rope.theta = *theta;
  if (!config.attends.empty()) return;
  const auto* full = config.whole_numbers("full_attn_idxs");
  config.attends.assign(size_t(config.n_layer), !full);
  if (!full) return;
  for (const int64_t i : *full) {
    if (i < 0 || i >= config.n_layer)
      fail("{}: full_attn_idxs: {} of {} layers makes no sense", config.path, i, config.n_layer);
    config.attends[size_t(i)] = true;
  }
}

void write_lfm2_keys(GgufWriter& writer, const HfConfig& config) {
  writer.set_u32(std::string(config.architecture->name) + ".shortconv.l_cache", uint32_t(config.n_conv));
}

}  // namespace hf

namespace {

// The width of the MLP may be meant as that of one without a gate, two thirds of which is rounded up.
void read_hf(HfConfig& config) {
  hf::read_lfm2(config);
  config.n_ff = config.count("block_ff_dim", config.n_ff > 0 ? config.n_ff : 12288);
  if (config.number("block_auto_adjust_ff_dim").value_or(1) == 0) return;
  const double wide = double(2 * config.n_ff / 3) * config.number("block_ffn_dim_multiplier").value_or(1);
  const int64_t multiple = config.count("block_multiple_of", 256);
  if (!(wide >= 1 && wide < 0x1p31))
    fail("{}: block_multiple_of, block_ffn_dim_multiplier: make no sense", config.path);
  config.n_ff = (int64_t(wide) + multiple - 1) / multiple * multiple;
}

constexpr HfFamily kHf = {
    .classes = {{"Lfm2ForCausalLM"}, {.name = "Lfm2VlForConditionalGeneration", .model_type = "lfm2"}},
    .layer = {hf::kLfm2Norms, hf::kLfm2Mlp},
    .attention = {hf::kLfm2Attention},
    .recurrent = {hf::kShortConv},
    .root = hf::kLfm2Root,
    .norm_eps = "norm_eps",
    .tied_by_default = true,
    .computed = hf::kLfm2Computed,
    .defaults = hf::kLfm2Defaults,
    .refused = {hf::kNoConvBias},
    .writes_kv_by_layer = true,
    .read = read_hf,
    .write_keys = hf::write_lfm2_keys,
};

}  // namespace

extern const Architecture kLfm2 = {
    .name = "lfm2",
    .models = "LFM2, LFM2.5",
    .layers_differ = true,
    .output_norm = kLfm2OutputNorm,
    .read = read_lfm2,
    .gradient_bytes = GradientBytes::two,
    .layer = lfm2_layer,
    .hf = &kHf,
};

}  // namespace lora
