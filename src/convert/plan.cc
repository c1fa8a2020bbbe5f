#include "convert/plan.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/numbers.h"
#include "base/plural.h"
#include "base/printable.h"
#include "convert/kept.h"
#include "convert/names.h"
#include "gguf/gguf_format.h"

namespace lora {
namespace {

// What files hold beside the weights: rotary tables that are computed, scales of activations.
bool is_beside(std::string_view name) {
  for (const std::string_view end :
       {".rotary_emb.inv_freq", ".masked_bias", ".attn.bias", ".attention.bias", ".input_scale",
        ".output_scale", ".k_scale", ".v_scale", ".activation_scale"}) {
    if (name.ends_with(end)) return true;
  }
  return false;
}

// Of what sees, beside the language model.
bool is_of_tower(std::string_view name) {
  for (const std::string_view part : {"vision", "visual.", "multi_modal_projector.", "connector.",
                                      "image_newline", "audio_tower.", "embed_audio."}) {
    if (name.find(part) != name.npos) return true;
  }
  return false;
}

// The keys of config.json that a dimension is made of.
const char* keys_of(Dim dim) {
  switch (dim) {
    case Dim::embd:
      return "hidden_size";
    case Dim::vocab:
      return "vocab_size";
    case Dim::ff:
    case Dim::two_ff:
      return "intermediate_size";
    case Dim::heads:
      return "num_attention_heads x head_dim";
    case Dim::kv_heads:
      return "num_key_value_heads x head_dim";
    case Dim::qkv:
      return "(num_attention_heads + 2 num_key_value_heads) x head_dim";
    case Dim::head:
      return "head_dim";
    case Dim::n_head:
      return "num_attention_heads";
    case Dim::experts:
      return "number of experts";
    case Dim::expert_ff:
      return "intermediate_size of an expert";
    case Dim::shared_ff:
      return "intermediate_size of shared experts";
    case Dim::two_expert_ff:
      return "twice the intermediate_size of an expert";
    case Dim::embd_per_layer:
      return "hidden_size_per_layer_input";
    case Dim::embd_per_layers:
      return "num_hidden_layers x hidden_size_per_layer_input";
    case Dim::ctx:
      return "max_position_embeddings";
    case Dim::q_rank:
      return "q_lora_rank";
    case Dim::kv_rank:
      return "kv_lora_rank";
    case Dim::latent:
      return "kv_lora_rank + qk_rope_head_dim";
    case Dim::nope:
      return "qk_nope_head_dim";
    case Dim::value_head:
      return "v_head_dim";
    case Dim::value_heads:
      return "num_attention_heads x v_head_dim";
    case Dim::keys_and_values:
      return "num_attention_heads x (qk_nope_head_dim + v_head_dim)";
    case Dim::three_embd:
      return "3 hidden_size";
    case Dim::conv:
      return "taps of a convolution";
    case Dim::ssm_in:
      return "rows of Mamba-2's input";
    case Dim::ssm_conv:
      return "channels of Mamba-2's convolution";
    case Dim::ssm_heads:
      return "heads of Mamba-2";
    case Dim::ssm_groups:
      return "groups of Mamba-2";
    case Dim::ssm_group:
      return "columns of a group of Mamba-2";
    case Dim::ssm_inner:
      return "columns of Mamba-2";
    default:
      return "";
  }
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return shape.empty() ? "one value" : fmt::format("{}", fmt::join(shape, " x "));
}

struct Planner {
  const HfConfig& config;
  const HfWeights& weights;
  Type matrix_type;
  std::string prefix{};  // of the layers' names: "model."
  std::vector<PlannedTensor> plan{};
  std::set<std::string, std::less<>> used{};     // of Hugging Face's tensors
  std::set<std::string, std::less<>> planned{};  // of GGUF's
  std::vector<std::string> unasked{};            // of Hugging Face's, that by config.json there are none of

  void find_prefix() {
    const HfFamily& family = *config.architecture->hf;
    const auto found = weights.prefix(family.root);
    if (!found) {
      fail("{}: tensor '{}{}.weight' is missing in the weights", config.path, family.prefix,
           family.root.front().hf);
    }
    prefix = *found;
  }

  const HfTensor* use(const std::string& name) {
    const HfTensor* tensor = weights.find(name);
    if (tensor) used.insert(name);
    return tensor;
  }

  // The tensors at Hugging Face that a tensor comes from, the first of them none if there is none.
  std::vector<PlannedSource> sources_of(const HfModule& module, const std::string& hf, std::string_view end) {
    std::vector<PlannedSource> sources;
    const int64_t n = module.stack == Stack::each ? config.n_expert : 1;
    for (int64_t i = 0; i < n; ++i) {
      const std::string name = hf_numbered(hf, i);
      PlannedSource& source = sources.emplace_back();
      source.hf_name = fmt::format("{}{}", name, module.stack == Stack::mxfp4 ? "_blocks" : end);
      source.hf = use(source.hf_name);
      if (!source.hf && i > 0) fail("{}: tensor '{}' is missing in the weights", config.path, source.hf_name);
      if (!source.hf) break;
      if (module.stack == Stack::mxfp4) {
        source.scale = use(name + "_scales");
        if (!source.scale) fail("{}: tensor '{}_scales' is missing in the weights", config.path, name);
      } else if (source.hf->dtype.starts_with("F8")) {
        for (const char* scale : {".weight_scale_inv", ".weight_scale"}) {
          if (!source.scale) source.scale = use(name + scale);
        }
      }
    }
    return sources;
  }

  // As a slice's tensor at Hugging Face has it, of a stack in one tensor with the experts before.
  static std::vector<int64_t> hf_shape(const PlannedTensor& tensor) {
    std::vector<int64_t> shape = {tensor.n_hf_rows, tensor.n_cols};
    if (!tensor.is_matrix) shape = {tensor.n_hf_rows * tensor.n_cols};
    if (tensor.transposed) std::swap(shape[0], shape[1]);
    if (tensor.is_conv) shape.insert(shape.begin() + 1, 1);
    if (tensor.is_flat) shape = {tensor.n_hf_rows * tensor.n_cols};
    if (tensor.stack == Stack::mxfp4) shape = {tensor.n_hf_rows, tensor.n_cols / 32, 16};
    if (is_of_heads(tensor.stack)) return {tensor.n_slices * tensor.n_hf_rows, tensor.n_hf_cols};
    if (tensor.stack != Stack::none && tensor.stack != Stack::each)
      shape.insert(shape.begin(), tensor.n_slices);
    return shape;
  }

  // False if there is no such tensor.
  bool add(const HfModule& module, const std::string& hf, const std::string& gguf, bool is_bias,
           std::optional<int64_t> layer) {
    PlannedTensor tensor;
    const std::string_view hf_end = is_bias ? ".bias" : module.hf_end;
    tensor.name = fmt::format("{}{}", gguf, is_bias ? ".bias" : module.gguf_end);
    tensor.stack = module.stack;
    tensor.n_slices = module.stack == Stack::none ? 1
                      : is_of_heads(module.stack) ? config.n_head
                                                  : config.n_expert;
    tensor.is_matrix = module.n_out != Dim::none && module.n_in != Dim::none && !is_bias;
    tensor.is_conv = module.is_conv && !is_bias;
    tensor.is_flat = module.is_flat;
    tensor.negated_exp = module.negated_exp;
    tensor.transposed = (module.transposed || module.stack == Stack::columns) && tensor.is_matrix;
    tensor.n_rows = config.size(module.n_out, layer);
    tensor.n_cols = is_bias && module.n_out != Dim::none ? 1 : config.size(module.n_in, layer);
    const HfFamily& family = *config.architecture->hf;
    if (is_half(module.of_hf)) {
      tensor.rows = hf_half(module, tensor.n_rows);
      tensor.n_hf_rows = 2 * tensor.n_rows;
    } else {
      if (module.n_out != Dim::none) tensor.rows = hf_rows(family, module, config.head_counts());
      tensor.n_hf_rows = module.of_hf != Rows::all ? config.size(Dim::qkv, layer)
                         : is_packed(module.delta) ? packed_rows(config.delta)
                                                   : tensor.n_rows;
      tensor.columns = delta_columns(module.delta, config.delta);
    }
    if (is_of_heads(module.stack)) {
      tensor.n_hf_rows = config.n_nope + config.n_value;
      tensor.n_hf_cols = config.n_kv_rank;
      tensor.first_hf_row = module.stack == Stack::head_values ? config.n_nope : 0;
    }
    tensor.sources = sources_of(module, hf, hf_end);
    if (!tensor.sources.front().hf) return false;
    for (const PlannedSource& source : tensor.sources) check_shape(module, tensor, source);
    if (tensor.stack == Stack::mxfp4) {
      tensor.type = Type::MXFP4;
    } else if (tensor.is_matrix && why_kept(tensor.name, 2).empty()) {
      const bool divides = tensor.n_cols % traits(matrix_type).block_size == 0;
      tensor.type = divides ? matrix_type : Type::F16;
    }
    if (family.norms_lack_one && module.n_out == Dim::none && !is_bias && !module.is_whole) tensor.add = 1;
    if (family.row_factors && !is_bias) tensor.factors = factors_of_rows(config, module, tensor.n_rows);
    planned.insert(tensor.name);
    plan.push_back(std::move(tensor));
    return true;
  }

  void check_shape(const HfModule& module, const PlannedTensor& tensor, const PlannedSource& source) const {
    const std::vector<int64_t> expected = hf_shape(tensor);
    if (source.hf->shape != expected) {
      const Dim rows = is_of_heads(module.stack)                            ? Dim::keys_and_values
                       : module.n_out == Dim::none                          ? module.n_in
                       : module.of_hf == Rows::all || is_half(module.of_hf) ? module.n_out
                                                                            : Dim::qkv;
      fail("{}: tensor '{}': expected {} as {} has it ({}{}), found {}", weights.path_of(*source.hf),
           printable(source.hf_name), shape_text(expected), config.path, keys_of(rows),
           tensor.is_matrix
               ? fmt::format(", {}", keys_of(is_of_heads(module.stack) ? Dim::kv_rank : module.n_in))
               : "",
           shape_text(source.hf->shape));
    }
    if (tensor.transposed && !is_of_heads(tensor.stack) && source.hf->dtype.starts_with("F8")) {
      fail("{}: tensor '{}': FP8 values are not supported where a matrix has a column for each output",
           weights.path_of(*source.hf), printable(source.hf_name));
    }
    if (tensor.stack != Stack::mxfp4) return;
    const std::vector<int64_t> scales(expected.begin(), expected.end() - 1);
    if (source.scale->shape != scales || tensor.n_cols % 32 != 0 || source.hf->dtype != "U8" ||
        source.scale->dtype != "U8") {
      fail("{}: tensor '{}': not MXFP4 blocks, with a scale each ({} {}, scales {} {})",
           weights.path_of(*source.hf), printable(source.hf_name), source.hf->dtype,
           shape_text(source.hf->shape), source.scale->dtype, shape_text(source.scale->shape));
    }
  }

  // False if the weights have no such module.
  bool take(const HfModule& module, const std::string& hf, const std::string& gguf,
            std::optional<int64_t> layer) {
    if (!add(module, hf, gguf, false, layer)) return false;
    if (module.may_have_bias) add(module, hf, gguf, true, layer);
    return true;
  }
  void require(const HfModule& module, const std::string& hf, const std::string& gguf,
               std::optional<int64_t> layer) {
    if (!take(module, hf, gguf, layer)) {
      fail("{}: tensor '{}{}' is missing in the weights", config.path, hf_numbered(hf, 0), module.hf_end);
    }
  }

  std::string name_of_layer(int64_t i) const {
    const HfFamily& family = *config.architecture->hf;
    if (i < config.n_layer || family.ahead_prefix.empty())
      return fmt::format("{}{}{}.", prefix, family.layers, i);
    return fmt::format("{}{}{}.", family.ahead_prefix, family.layers, i - config.n_layer);
  }

  // Of a layer that predicts further tokens, what other layers do not have.
  void ahead(int64_t i) {
    const HfFamily& family = *config.architecture->hf;
    if (family.ahead_prefix.empty()) return layer(std::array{family.ahead}, i);
    for (const HfModule& module : family.ahead) {
      require(module, fmt::format("{}{}", family.ahead_prefix, module.hf),
              fmt::format("blk.{}.{}", i, module.gguf), i);
    }
  }

  // Of all that the lists name, tensors of GGUF that several are for from the first that the weights have.
  template <class Lists>
  void layer(const Lists& lists, int64_t i) {
    const std::string hf = name_of_layer(i), gguf = fmt::format("blk.{}.", i);
    const auto each = [&](const auto& visit) {
      for (const std::span<const HfModule> modules : lists) {
        for (const HfModule& module : modules) {
          if (module.of_gguf != Rows::all || module.of_adapters) continue;  // another way to have it
          if (config.size(module.n_out) == 0 || config.size(module.n_in) == 0) continue;  // it has none
          const std::string name = gguf + std::string(module.gguf);
          if (!planned.contains(name + std::string(module.gguf_end)))
            visit(module, hf + std::string(module.hf), name);
        }
      }
    };
    const auto has_none = [&](const HfModule& module) {
      return module.may_be_absent_in && module.may_be_absent_in(config, i);
    };
    each([&](const HfModule& module, const std::string& from, const std::string& to) {
      if (take(module, from, to, i) && has_none(module))
        unasked.push_back(fmt::format("{}{}", hf_numbered(from, 0), module.hf_end));
    });
    each([&](const HfModule& module, const std::string& from, const std::string& to) {
      if (!module.may_be_absent && !has_none(module)) require(module, from, to, i);
    });
  }

  void root(const HfModule& module) {
    if (&module != &config.architecture->hf->root.back()) {
      if (module.may_be_absent_in && module.may_be_absent_in(config, 0)) return;
      return require(module, prefix + std::string(module.hf), std::string(module.gguf), {});
    }
    const std::string name = weights.output_module(config.architecture->hf->root);
    if (config.tied == true) {
      use(name + ".weight");
      // One matrix at Hugging Face that is multiplied by two factors is two here.
      const HfModule& embedding = config.architecture->hf->root.front();
      if (factors_of_rows(config, embedding, 1) != factors_of_rows(config, module, 1))
        require(module, prefix + std::string(embedding.hf), std::string(module.gguf), {});
    } else {
      require(module, name, std::string(module.gguf), {});
    }
  }

  void check_leftovers(const std::function<void(std::string_view)>& say) const {
    std::vector<std::string_view> unknown, of_tower, left_out;
    const std::string_view beginning = config.architecture->hf->left_out;
    for (const auto& [name, tensor] : weights.tensors()) {
      if (used.contains(name) || is_beside(name)) continue;
      const bool is_left_out = !beginning.empty() && name.starts_with(beginning);
      (is_left_out ? left_out : is_of_tower(name) ? of_tower : unknown).push_back(name);
    }
    if (!left_out.empty()) {
      say(fmt::format("{} tensors that predict further tokens are left out, as by llama.cpp's converter: {}",
                      left_out.size(), some_of(left_out)));
    }
    if (!of_tower.empty()) {
      say(fmt::format("{} tensors of what sees are left out: {}", of_tower.size(), some_of(of_tower)));
    }
    if (unknown.empty()) return;
    const std::string_view first = unknown.front();
    const std::string& path = weights.path_of(*weights.find(first));
    const std::string more = and_more(unknown.size() - 1);
    std::string_view in_layer = first;
    if (const std::string layers = prefix + std::string(config.architecture->hf->layers);
        first.starts_with(layers)) {
      in_layer.remove_prefix(layers.size());
      if (const auto layer = take_number<int64_t>(in_layer); layer && *layer >= config.n_layer) {
        fail("{}: tensor '{}'{}: a layer too many, num_hidden_layers is {} in {}", path, printable(first),
             more, config.n_layer, config.path);
      }
    }
    fail("{}: tensor '{}'{}: not known for architecture {}", path, printable(first), more,
         config.architecture->name);
  }

  void report_unasked(const std::function<void(std::string_view)>& say) const {
    if (unasked.empty()) return;
    const std::vector<std::string_view> names(unasked.begin(), unasked.end());
    say(fmt::format("{} tensors that by {} there are none of are kept, as by llama.cpp's converter: {}",
                    names.size(), config.path, some_of(names)));
  }

  void report_fallbacks(const std::function<void(std::string_view)>& say) const {
    std::vector<std::string_view> names;
    for (const PlannedTensor& tensor : plan) {
      if (tensor.is_matrix && tensor.type == Type::F16 && matrix_type != Type::F16)
        names.push_back(tensor.name);
    }
    if (names.empty()) return;
    say(fmt::format("{} tensors are F16, since {} does not divide their rows: {}", names.size(),
                    traits(matrix_type).block_size, some_of(names)));
  }
};

}  // namespace

std::vector<int64_t> PlannedTensor::ne() const {
  std::vector<int64_t> shape = {n_cols, n_rows};
  if (!is_matrix) shape = {n_rows * n_cols};  // a bias has rows of one value, so that they can be reordered
  if (stack != Stack::none) shape.push_back(n_slices);
  return shape;
}

int64_t PlannedTensor::bytes() const {
  const std::vector<int64_t> shape = ne();
  return tensor_bytes(traits(type), shape);
}

std::vector<PlannedTensor> plan_tensors(const HfConfig& config, const HfWeights& weights, Type matrix_type,
                                        const std::function<void(std::string_view)>& say) {
  Planner planner{config, weights, matrix_type};
  planner.find_prefix();
  const HfFamily& family = *config.architecture->hf;
  const auto roots = family.root;
  planner.root(roots.front());
  for (ComputedTensor& computed : rope_tensors(config)) {
    PlannedTensor tensor;
    tensor.name = std::move(computed.name);
    tensor.values = std::move(computed.values);
    tensor.n_cols = int64_t(tensor.values.size());
    planner.plan.push_back(std::move(tensor));
  }
  if (config.n_layer > int64_t(weights.tensors().size())) {
    fail("{}: num_hidden_layers: {} layers, but {} tensors", config.path, config.n_layer,
         weights.tensors().size());
  }
  for (int64_t i = 0; i < config.n_layer + config.n_ahead; ++i) {
    planner.layer(family.layer, i);
    if (config.has_attention(i)) planner.layer(family.attention, i);
    if (config.has_state(i)) planner.layer(family.recurrent, i);
    if (config.has_mlp(i)) planner.layer(config.has_experts(i) ? family.experts : family.dense, i);
    if (i >= config.n_layer) planner.ahead(i);
  }
  for (const HfModule& module : roots.subspan(1)) planner.root(module);
  planner.check_leftovers(say);
  planner.report_unasked(say);
  planner.report_fallbacks(say);
  return std::move(planner.plan);
}

}  // namespace lora
