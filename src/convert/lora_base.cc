#include "convert/lora_base.h"

#include <algorithm>
#include <memory>

#include "adapter/pairs.h"
#include "adapter/peft_names.h"
#include "base/error.h"
#include "base/file.h"
#include "base/path.h"
#include "base/printable.h"
#include "convert/hf_trust.h"
#include "convert/hf_weights.h"
#include "gguf/part_name.h"

namespace lora {
namespace {

// As the weights beside a config.json have it; where they are not all there, it says itself what counts.
HfConfig as_weights_have_it(HfConfig config) {
  std::optional<HfWeights> weights;
  try {
    weights = HfWeights::open(folder_of(config.path));
  } catch (const Error&) {
    config.tied = config.is_tied(true);
    return config;
  }
  trust_weights(config, *weights, [](std::string_view) {});
  return config;
}

// Where some layers have attention, or experts, and the others something in their place.
bool is_of_other_layers(const HfModule& module, int64_t layer, const HfConfig& config) {
  const HfFamily& family = *config.architecture->hf;
  const auto has = [&](const auto& lists) {
    return std::ranges::any_of(lists, [&](std::span<const HfModule> modules) {
      return std::ranges::any_of(modules, [&](const HfModule& m) { return &m == &module; });
    });
  };
  if (has(family.attention)) return !config.has_attention(layer);
  if (has(family.recurrent)) return !config.has_state(layer);
  const bool is_of_experts = has(family.experts);
  return has(family.dense) != is_of_experts &&
         (!config.has_mlp(layer) || config.has_experts(layer) != is_of_experts);
}

}  // namespace

std::optional<PairShape> LoraBase::shape(std::string_view tensor) const {
  if (gguf) return pair_shape(*gguf, tensor);
  const auto place = find_hf_matrix(*config->architecture->hf, tensor);
  if (!place || (place->layer && *place->layer >= config->n_layer)) return std::nullopt;
  if (place->layer && is_of_other_layers(*place->module, *place->layer, *config)) return std::nullopt;
  if (facts.is_tied && place->module == &config->architecture->hf->root.back()) return std::nullopt;
  const HfModule& module = *place->module;
  const auto layer = place->layer ? std::optional<int64_t>(*place->layer) : std::nullopt;
  if (module.may_be_absent_in && module.may_be_absent_in(*config, layer.value_or(0))) return std::nullopt;
  const PairShape shape = {config->size(module.n_in, layer), config->size(module.n_out, layer),
                           place->module->stack == Stack::none ? 1 : config->n_expert};
  return tensor == kTokenEmbedding ? PairShape{shape.n_out, shape.n_in} : shape;
}

BaseWeight LoraBase::weight() const {
  if (gguf) return peft_base(*gguf).weight;
  const std::string folder = folder_of(config->path);
  // Opened for the first tensor that is asked for: most adapters need none.
  return [folder, facts = facts,
          opened = std::make_shared<std::optional<HfWeights>>()](std::string_view tensor) {
    if (!*opened) *opened = HfWeights::open(folder);
    const HfWeights& weights = **opened;
    const auto module = peft_module(facts.architecture, tensor);
    const HfTensor* found = module ? weights.find(module->name + ".weight") : nullptr;
    if (found == nullptr || found->shape.size() != 2) {
      fail("{}: tensor {}: not found as a matrix; give the model as GGUF", folder, printable(tensor));
    }
    if (found->dtype != "F32" && found->dtype != "F16" && found->dtype != "BF16") {
      refuse_base_type(folder, tensor, found->dtype);
    }
    std::vector<std::byte> buffer;
    std::vector<float> values = weights.load(*found, buffer).to_f32();
    int64_t n_rows = found->shape[0], n_cols = found->shape[1];
    if (module->module->transposed) {
      values = transposed(values, n_rows, n_cols);
      std::swap(n_rows, n_cols);
    }
    const PeftHeads heads{facts.n_head, facts.n_head_kv, facts.delta};
    const std::string what = fmt::format("{}: tensor {}", folder, printable(tensor));
    return gather_columns(
        gather_rows(values, n_cols,
                    peft_rows(facts.architecture, *module->module, n_rows, true, heads, what)),
        peft_columns(*module->module, n_cols, heads, what));
  };
}

LoraBase lora_base_of(const HfConfig& read) {
  const HfConfig config = as_weights_have_it(read);
  LoraBase base;
  base.path = config.path;
  base.files = {config.path};
  base.facts = {std::string(config.architecture->name), config.n_head, config.n_head_kv};
  base.facts.is_tied = *config.tied;
  base.facts.delta = config.delta;
  if (config.architecture->hf->row_factors) {
    base.facts.factors = [config](const HfModule& module, int64_t n) {
      return factors_of_rows(config, module, n);
    };
  }
  if (config.n_kv_rank > 0) base.facts.heads = HeadParts{config.n_head, config.n_nope, config.n_value};
  base.n_layer = config.n_layer;
  base.n_vocab = base.facts.n_vocab = config.n_vocab;
  base.config = config;
  return base;
}

LoraBase open_lora_base(const std::string& path) {
  LoraBase base;
  if (is_directory(path)) {
    base = lora_base_of(read_hf_config(path));
    base.files = {path};
    return base;
  }
  base.path = path;
  base.gguf = Gguf::open(path);
  const Gguf& gguf = *base.gguf;
  base.files = files_of(gguf);
  if (gguf.get_string("general.type") == "adapter")
    fail("{}: holds a LoRA, not the model it belongs to", path);
  base.facts = peft_base(gguf);
  base.facts.weight = nullptr;  // they refer to where the file's table lies now
  base.facts.shape = nullptr;
  base.n_layer = gguf.get_int(base.facts.architecture + ".block_count").value_or(0);
  if (const auto embedding = pair_shape(gguf, kTokenEmbedding)) base.n_vocab = embedding->n_in;
  return base;
}

}  // namespace lora
