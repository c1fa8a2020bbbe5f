#include "convert/mixes.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "base/ascii.h"
#include "quant/choice.h"

namespace lora {

namespace {

// A model's facts that choices depend on.
struct Facts {
  int64_t n_layers = 0, n_head = 1, n_head_kv = 1, n_expert = 0;
  bool tied = false;  // no output.weight: the embedding's table does its work
  bool has_importance = false;

  int64_t group_size() const { return n_head_kv > 0 ? n_head / n_head_kv : 1; }
  bool eight_experts() const { return n_expert == 8; }
};

// In which layers a tensor gets another type.
enum class Where { nowhere, everywhere, first_2, first_4, first_16th, first_8th, more_bits };

bool holds(Where where, int64_t layer, int64_t n_layers) {
  switch (where) {
    case Where::nowhere:
      return false;
    case Where::everywhere:
      return true;
    case Where::first_2:
      return layer < 2;
    case Where::first_4:
      return layer < 4;
    case Where::first_16th:
      return layer < n_layers / 16;
    case Where::first_8th:
      return layer < n_layers / 8;
    case Where::more_bits:
      return has_more_bits(layer, n_layers);
  }
  return false;
}

enum class When { always, shared_heads, with_importance, without_importance };

bool holds(When when, const Facts& facts) {
  switch (when) {
    case When::always:
      return true;
    case When::shared_heads:
      return facts.group_size() >= 4;  // attn_v is small then
    case When::with_importance:
      return facts.has_importance;
    case When::without_importance:
      return !facts.has_importance;
  }
  return false;
}

struct Rule {
  Where where = Where::nowhere;
  Type type = Type::F32;
  When when = When::always;
};

}  // namespace

struct Mix {
  std::string_view name;
  int64_t file_type;
  Type base;
  // Of each list the first rule that holds.
  Rule attn_v[2] = {}, ffn_down[2] = {}, attn_output = {};
  bool few_bits = false;  // with 8 experts, attn_output is worth Q5_K
};

namespace {

constexpr Where everywhere = Where::everywhere, more_bits = Where::more_bits;

constexpr Mix kMixes[] = {
    {"Q4_0", 2, Type::Q4_0, {}, {{Where::first_8th, Type::Q4_1, When::with_importance}}},
    {"Q4_1", 3, Type::Q4_1},
    {"Q5_0", 8, Type::Q5_0, {}, {{Where::first_8th, Type::Q5_1, When::with_importance}}},
    {"Q5_1", 9, Type::Q5_1},
    {"Q8_0", 7, Type::Q8_0},
    {"Q2_K",
     10,
     Type::Q2_K,
     {{everywhere, Type::Q4_K, When::shared_heads}, {everywhere, Type::Q3_K}},
     {{everywhere, Type::Q3_K}},
     {everywhere, Type::Q3_K},
     true},
    {"Q3_K_S", 11, Type::Q3_K, {}, {}, {}, true},
    {"Q3_K_M",
     12,
     Type::Q3_K,
     {{Where::first_2, Type::Q5_K}, {everywhere, Type::Q4_K}},
     {{Where::first_16th, Type::Q5_K}, {everywhere, Type::Q4_K}},
     {everywhere, Type::Q4_K},
     true},
    {"Q3_K_L",
     13,
     Type::Q3_K,
     {{everywhere, Type::Q5_K}},
     {{everywhere, Type::Q5_K}},
     {everywhere, Type::Q5_K}},
    {"Q4_K_S", 14, Type::Q4_K, {{Where::first_4, Type::Q5_K}}, {{Where::first_8th, Type::Q5_K}}, {}, true},
    {"Q4_K_M", 15, Type::Q4_K, {{more_bits, Type::Q6_K}}, {{more_bits, Type::Q6_K}}, {}, true},
    {"Q5_K_S", 16, Type::Q5_K},
    {"Q5_K_M", 17, Type::Q5_K, {{more_bits, Type::Q6_K}}, {{more_bits, Type::Q6_K}}},
    {"Q6_K", 18, Type::Q6_K},
    {"IQ4_NL",
     25,
     Type::IQ4_NL,
     {{everywhere, Type::Q5_K, When::shared_heads}},
     {{Where::first_8th, Type::Q5_K, When::without_importance}},
     {},
     true},
    {"IQ4_XS",
     30,
     Type::IQ4_XS,
     {{everywhere, Type::Q5_K, When::shared_heads}},
     {{Where::first_8th, Type::Q5_K, When::without_importance}},
     {},
     true},
    {"F16", 1, Type::F16},
    {"BF16", 32, Type::BF16},
    {"F32", 0, Type::F32},
};

// A quantized type, as opposed to one that stores every number by itself.
bool is_block_type(Type type) {
  return traits(type).block_size > 1;
}

// An integer, or the first of an array of one per layer.
int64_t first_int(const Gguf& model, const std::string& key, int64_t otherwise) {
  const GgufValue* value = model.find(key);
  if (!value) return otherwise;
  if (value->type != GgufValueType::array) return model.get_int(key).value_or(otherwise);
  const auto all = model.get_ints(key);
  return all && !all->empty() ? all->front() : otherwise;
}

Facts read_facts(const Gguf& model, const MixOptions& options) {
  const std::string arch = model.get_string("general.architecture").value_or("") + ".";
  Facts facts;
  facts.n_layers = first_int(model, arch + "block_count", 0);
  facts.n_head = first_int(model, arch + "attention.head_count", 1);
  facts.n_head_kv = first_int(model, arch + "attention.head_count_kv", facts.n_head);
  facts.n_expert = first_int(model, arch + "expert_count", 0);
  facts.tied = !model.find_tensor("output.weight");
  facts.has_importance = options.has_importance;
  return facts;
}

// "blk.3.attn_v.weight": layer 3, part "attn_v". Others: layer 0, part without ".weight".
struct TensorName {
  int64_t layer = 0;
  std::string_view part;
};
TensorName parse_name(std::string_view name) {
  TensorName result;
  result.part = name.substr(0, name.size() - std::string_view(".weight").size());
  if (!name.starts_with("blk.")) return result;
  const char* end = name.data() + name.size();
  const auto [after, error] = std::from_chars(name.data() + 4, end, result.layer);
  if (error != std::errc() || after == end || *after != '.') return result;
  result.part.remove_prefix(size_t(after + 1 - name.data()));
  return result;
}

}  // namespace

bool is_weight_matrix(const GgufTensor& tensor) {
  const std::string_view name = tensor.name;
  if (!name.ends_with(".weight") || tensor.n_dims < 2 || !traits(tensor.type).decode) return false;
  const std::string_view part = parse_name(name).part;
  // Small, and every bit of them counts.
  for (const std::string_view kept : {"ffn_gate_inp", "ffn_gate_inp_shexp", "position_embd", "token_types"}) {
    if (part == kept) return false;
  }
  return !part.ends_with("_norm");
}

namespace {

template <size_t n>
Type upgraded(Type base, const Rule (&rules)[n], int64_t layer, const Facts& facts) {
  for (const Rule& rule : rules) {
    if (holds(rule.where, layer, facts.n_layers) && holds(rule.when, facts)) return rule.type;
  }
  return base;
}

Type attention_value_type(const Mix& mix, int64_t layer, const Facts& facts) {
  if (facts.eight_experts()) return Type::Q8_0;
  const Type type = upgraded(mix.base, mix.attn_v, layer, facts);
  // A 70B model: its values are an eighth of its queries, so that more bits cost next to nothing.
  const bool is_70b = facts.n_layers == 80 && facts.n_head != facts.n_head_kv;
  return is_70b && (type == Type::Q3_K || type == Type::Q4_K) ? Type::Q5_K : type;
}

Type mixed_type(const GgufTensor& tensor, const Mix& mix, const MixOptions& options, const Facts& facts) {
  const auto [layer, part] = parse_name(tensor.name);
  if (part == "output" || (facts.tied && part == "token_embd")) {
    if (options.output_tensor_type) return *options.output_tensor_type;
    return mix.base == Type::Q8_0 ? Type::Q8_0 : Type::Q6_K;
  }
  if (part == "attn_v" || part == "attn_qkv" || part == "attn_kv_b")
    return attention_value_type(mix, layer, facts);
  if (part == "attn_k" && facts.eight_experts()) return Type::Q8_0;
  if (part.starts_with("ffn_down")) return upgraded(mix.base, mix.ffn_down, layer, facts);
  if (part == "attn_output") {
    if (facts.eight_experts()) return mix.few_bits ? Type::Q5_K : mix.base;
    const Rule rules[] = {mix.attn_output};
    return upgraded(mix.base, rules, layer, facts);
  }
  return mix.base;
}

Type wanted_type(const GgufTensor& tensor, const Mix& mix, const MixOptions& options, const Facts& facts) {
  if (!is_weight_matrix(tensor)) return tensor.type;
  if (tensor.name == "output.weight" && options.leave_output_tensor) return tensor.type;
  if (tensor.name == "token_embd.weight" && options.token_embedding_type)
    return *options.token_embedding_type;
  if (tensor.name == "output.weight" && options.output_tensor_type) return *options.output_tensor_type;
  return options.pure || !is_block_type(mix.base) ? mix.base : mixed_type(tensor, mix, options, facts);
}

}  // namespace

std::vector<std::string_view> mix_names() {
  std::vector<std::string_view> names;
  for (const Mix& mix : kMixes) names.push_back(mix.name);
  return names;
}

const Mix* find_mix(std::string_view name) {
  for (const Mix& mix : kMixes) {
    if (equal_in_any_case(mix.name, name)) return &mix;
  }
  return nullptr;
}

int64_t file_type(const Mix& mix) {
  return mix.file_type;
}

Type base_type(const Mix& mix) {
  return mix.base;
}

std::vector<TensorChoice> choose_types(const Gguf& model, const Mix& mix, const MixOptions& options) {
  const Facts facts = read_facts(model, options);
  std::vector<TensorChoice> choices;
  for (const GgufTensor& tensor : model.tensors()) {
    const Type wanted = wanted_type(tensor, mix, options, facts);
    choices.push_back({wanted == tensor.type ? wanted : type_for_rows(wanted, tensor.ne[0]), wanted});
  }
  return choices;
}

}  // namespace lora
