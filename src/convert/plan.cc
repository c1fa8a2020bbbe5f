#include "convert/plan.h"

#include <algorithm>
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
  for (const std::string_view part :
       {"vision", "multi_modal_projector.", "connector.", "image_newline", "audio_tower."}) {
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
    case Dim::ctx:
      return "max_position_embeddings";
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
  std::set<std::string, std::less<>> used{};

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

  // False if there is no such tensor.
  bool add(const HfModule& module, const std::string& hf, const std::string& gguf, std::string_view part) {
    PlannedTensor tensor;
    tensor.hf_name = hf + std::string(part);
    tensor.hf = use(tensor.hf_name);
    if (!tensor.hf) return false;
    const bool is_bias = part == ".bias";
    tensor.name = gguf + std::string(part);
    tensor.is_matrix = module.n_out != Dim::none && !is_bias;
    tensor.n_rows = config.size(module.n_out);
    tensor.n_cols = is_bias && module.n_out != Dim::none ? 1 : config.size(module.n_in);
    const Dim hf_rows_of = module.of_hf == Rows::all ? module.n_out : Dim::qkv;
    std::vector<int64_t> expected = {config.size(hf_rows_of), tensor.n_cols};
    tensor.transposed = module.transposed && tensor.is_matrix;
    if (tensor.transposed) std::swap(expected[0], expected[1]);
    if (!tensor.is_matrix) expected = {config.size(hf_rows_of) * tensor.n_cols};
    if (tensor.hf->shape != expected) {
      const Dim rows = module.n_out == Dim::none ? module.n_in : hf_rows_of;
      fail("{}: tensor '{}': expected {} as {} has it ({}{}), found {}", weights.path_of(*tensor.hf),
           printable(tensor.hf_name), shape_text(expected), config.path, keys_of(rows),
           tensor.is_matrix ? fmt::format(", {}", keys_of(module.n_in)) : "", shape_text(tensor.hf->shape));
    }
    if (tensor.transposed && tensor.hf->dtype.starts_with("F8")) {
      fail("{}: tensor '{}': FP8 values are not supported where a matrix has a column for each output",
           weights.path_of(*tensor.hf), printable(tensor.hf_name));
    }
    if (tensor.is_matrix && why_kept(tensor.name, 2).empty()) {
      const bool divides = tensor.n_cols % traits(matrix_type).block_size == 0;
      tensor.type = divides ? matrix_type : Type::F16;
    }
    if (tensor.is_matrix) {
      for (const char* scale : {".weight_scale_inv", ".weight_scale"}) {
        if (!tensor.scale && tensor.hf->dtype.starts_with("F8")) tensor.scale = use(hf + scale);
      }
    }
    const HfFamily& family = *config.architecture->hf;
    if (module.n_out != Dim::none) tensor.rows = hf_rows(family, module, config.head_counts());
    if (family.norms_lack_one && module.n_out == Dim::none && !is_bias) tensor.add = 1;
    plan.push_back(std::move(tensor));
    return true;
  }

  void require(const HfModule& module, const std::string& hf, const std::string& gguf) {
    if (!add(module, hf, gguf, ".weight"))
      fail("{}: tensor '{}.weight' is missing in the weights", config.path, hf);
    if (module.may_have_bias) add(module, hf, gguf, ".bias");
  }

  void root(const HfModule& module) {
    if (&module != &config.architecture->hf->root.back())
      return require(module, prefix + std::string(module.hf), std::string(module.gguf));
    const std::string name = weights.output_module(config.architecture->hf->root);
    if (config.tied == true) {
      use(name + ".weight");
    } else {
      require(module, name, std::string(module.gguf));
    }
  }

  void check_leftovers(const std::function<void(std::string_view)>& say) const {
    std::vector<std::string_view> unknown, of_tower;
    for (const auto& [name, tensor] : weights.tensors()) {
      if (used.contains(name) || is_beside(name)) continue;
      (is_of_tower(name) ? of_tower : unknown).push_back(name);
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
  if (is_matrix) return {n_cols, n_rows};
  return {n_rows * n_cols};  // a bias has rows of one value, so that they can be reordered
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
  for (int64_t layer = 0; layer < config.n_layer; ++layer) {
    for (const auto& modules : family.layer) {
      for (const HfModule& module : modules) {
        if (module.of_gguf != Rows::all) continue;  // another way to have it, of adapters
        planner.require(module, fmt::format("{}{}{}.{}", planner.prefix, family.layers, layer, module.hf),
                        fmt::format("blk.{}.{}", layer, module.gguf));
      }
    }
  }
  for (const HfModule& module : roots.subspan(1)) planner.root(module);
  planner.check_leftovers(say);
  planner.report_fallbacks(say);
  return std::move(planner.plan);
}

}  // namespace lora
