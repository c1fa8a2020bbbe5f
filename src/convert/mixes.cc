#include "convert/mixes.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/printable.h"
#include "convert/kept.h"
#include "quant/choice.h"

namespace lora {

namespace {

// A model's facts that choices depend on.
struct Facts {
  int64_t n_layers = 0, n_head = 1, n_head_kv = 1, n_expert = 0;
  int64_t n_values = 0;  // matrices of values: some models have attention in some layers only
  bool tied = false;     // no output.weight: the embedding's table does its work
  bool has_importance = false;

  int64_t group_size() const { return n_head_kv > 0 ? n_head / n_head_kv : 1; }
  bool eight_experts() const { return n_expert == 8; }
};

// Which of the tensors of a kind get another type.
enum class Where { nowhere, everywhere, first_2, first_4, first_16th, first_8th, more_bits };

// Of the i-th of n.
bool holds(Where where, int64_t i, int64_t n) {
  switch (where) {
    case Where::nowhere:
      return false;
    case Where::everywhere:
      return true;
    case Where::first_2:
      return i < 2;
    case Where::first_4:
      return i < 4;
    case Where::first_16th:
      return i < n / 16;
    case Where::first_8th:
      return i < n / 8;
    case Where::more_bits:
      return has_more_bits(i, n);
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
  bool few_bits = false;               // with 8 experts, attn_output is worth Q5_K
  std::optional<Type> embedding = {};  // of token_embd; else the base
  std::optional<Type> unstacked = {};  // of all but stacks of experts' matrices, which get the base
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
    {"TQ1_0", 36, Type::TQ1_0, {}, {}, {}, false, Type::Q4_K},
    {"TQ2_0", 37, Type::TQ2_0, {}, {}, {}, false, Type::Q4_K},
    {"MXFP4", 38, Type::MXFP4},
    {.name = "MXFP4_MOE", .file_type = 38, .base = Type::MXFP4, .unstacked = Type::Q8_0},
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

// What a tensor does, as far as mixes treat it apart.
enum class MixPart { other, output, embedding, value, key, attn_output, ffn_down };

struct PartName {
  std::string_view in_name;
  MixPart part;
};
constexpr PartName kParts[] = {
    {"attn_qkv.weight", MixPart::value},
    {"attn_kv_b.weight", MixPart::value},
    {"attn_v.weight", MixPart::value},
    {"attn_k.weight", MixPart::key},
    {"attn_output.weight", MixPart::attn_output},
    {"ffn_down", MixPart::ffn_down},
};

MixPart part_of(std::string_view name) {
  if (name == kOutputTensor) return MixPart::output;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") return MixPart::embedding;
  const auto row =
      std::ranges::find_if(kParts, [&](const PartName& p) { return name.find(p.in_name) != name.npos; });
  return row == std::end(kParts) ? MixPart::other : row->part;
}

// "blk.3.attn_v.weight": 3; -1 outside of layers.
int64_t layer_of(std::string_view name) {
  return block_of(name).value_or(-1);
}

// Layer by layer, and by name within: the order in which llama.cpp counts.
std::vector<size_t> in_counting_order(const std::vector<GgufTensor>& tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) {
    return std::pair(layer_of(tensors[i].name), std::string_view(tensors[i].name));
  });
  return order;
}

Facts read_facts(const Gguf& model, const MixOptions& options) {
  const std::string arch = model.get_string("general.architecture").value_or("") + ".";
  Facts facts;
  facts.n_layers = first_int(model, arch + "block_count", 0);
  facts.n_head = first_int(model, arch + "attention.head_count", 1);
  facts.n_head_kv = first_int(model, arch + "attention.head_count_kv", facts.n_head);
  facts.n_expert = first_int(model, arch + "expert_count", 0);
  facts.n_values = std::ranges::count_if(
      model.tensors(), [](const GgufTensor& tensor) { return part_of(tensor.name) == MixPart::value; });
  facts.tied = !model.find_tensor(kOutputTensor);
  facts.has_importance = options.has_importance;
  return facts;
}

template <size_t n>
Type upgraded(Type base, const Rule (&rules)[n], int64_t i, int64_t of, const Facts& facts) {
  for (const Rule& rule : rules) {
    if (holds(rule.where, i, of) && holds(rule.when, facts)) return rule.type;
  }
  return base;
}

Type attention_value_type(const Mix& mix, int64_t i, const Facts& facts) {
  if (facts.eight_experts()) return Type::Q8_0;
  const Type type = upgraded(mix.base, mix.attn_v, i, facts.n_values, facts);
  // A 70B model: its values are an eighth of its queries, so that more bits cost next to nothing.
  const bool is_70b = facts.n_layers == 80 && facts.n_head != facts.n_head_kv;
  return is_70b && (type == Type::Q3_K || type == Type::Q4_K) ? Type::Q5_K : type;
}

// The row of --tensor-type that a tensor's type comes from; nullptr: from none.
const TensorType* deciding_row(const MixOptions& options, const GgufTensor& tensor) {
  const MixPart part = part_of(tensor.name);
  const bool has_own_flag = part == MixPart::output
                                ? options.output_tensor_type || options.leave_output_tensor
                                : part == MixPart::embedding && options.token_embedding_type.has_value();
  return has_own_flag || !why_kept(tensor).empty() ? nullptr : options.tensor_types.find(tensor.name);
}

// Chooses tensor by tensor, in counting order.
class Chooser {
 public:
  Chooser(const Mix& mix, const MixOptions& options, const Facts& facts)
      : mix_(mix), options_(options), facts_(facts) {}

  Type wanted(const GgufTensor& tensor) {
    if (!why_kept(tensor).empty()) return tensor.type;
    // Such a tensor is not counted among those of its part, as in llama.cpp.
    if (const TensorType* row = deciding_row(options_, tensor)) return row->type;
    const MixPart part = part_of(tensor.name);
    if (part == MixPart::output && options_.leave_output_tensor) return tensor.type;
    if (part == MixPart::embedding && options_.token_embedding_type) return *options_.token_embedding_type;
    const bool is_output = part == MixPart::output || (facts_.tied && part == MixPart::embedding);
    if (is_output && options_.output_tensor_type) return *options_.output_tensor_type;
    if (options_.pure || !is_block_type(mix_.base)) return mix_.base;
    if (mix_.unstacked) return tensor.ne[2] > 1 ? mix_.base : *mix_.unstacked;
    if (is_output) return mix_.base == Type::Q8_0 ? Type::Q8_0 : Type::Q6_K;
    return mixed(part, tensor.name);
  }

 private:
  Type mixed(MixPart part, std::string_view name) {
    switch (part) {
      case MixPart::value:
        return attention_value_type(mix_, n_values_++, facts_);
      case MixPart::key:
        return facts_.eight_experts() ? Type::Q8_0 : mix_.base;
      case MixPart::ffn_down: {
        // With experts a layer has several of them, else one or none.
        const int64_t count = n_down_++;
        const int64_t i = facts_.n_expert > 1 && layer_of(name) >= 0 ? layer_of(name) : count;
        return upgraded(mix_.base, mix_.ffn_down, i, facts_.n_layers, facts_);
      }
      case MixPart::attn_output: {
        if (facts_.eight_experts()) return mix_.few_bits ? Type::Q5_K : mix_.base;
        const Rule rules[] = {mix_.attn_output};
        return upgraded(mix_.base, rules, 0, facts_.n_layers, facts_);
      }
      case MixPart::embedding:
        return mix_.embedding.value_or(mix_.base);
      default:
        return mix_.base;
    }
  }

  const Mix& mix_;
  const MixOptions& options_;
  const Facts& facts_;
  int64_t n_values_ = 0, n_down_ = 0;  // so far
};

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
  Chooser chooser(mix, options, facts);
  std::vector<TensorChoice> choices(model.tensors().size());
  for (const size_t i : in_counting_order(model.tensors())) {
    const GgufTensor& tensor = model.tensors()[i];
    const Type wanted = chooser.wanted(tensor);
    choices[i] = {wanted == tensor.type ? wanted : type_for_rows(wanted, tensor.ne[0]), wanted};
  }
  return choices;
}

std::vector<std::string> options_without_effect(const Gguf& model, const Mix& mix,
                                                const MixOptions& options) {
  const bool has_output = model.find_tensor(kOutputTensor);
  std::vector<std::string> lines;
  const auto say = [&](std::string_view flag, std::string_view why) {
    lines.push_back(fmt::format("{}: without effect: {}", flag, why));
  };
  constexpr std::string_view tied = "the model has no output.weight, token_embd.weight does its work";
  if (options.leave_output_tensor && !has_output) say("--leave-output-tensor", tied);
  if (options.output_tensor_type) {
    if (has_output && options.leave_output_tensor) {
      say("--output-tensor-type", "--leave-output-tensor keeps output.weight as it is");
    } else if (!has_output && options.token_embedding_type) {
      say("--output-tensor-type", "the model has no output.weight, and --token-embedding-type is given");
    }
  }
  const auto is_embedding = [](const GgufTensor& t) { return part_of(t.name) == MixPart::embedding; };
  if (options.token_embedding_type && std::ranges::none_of(model.tensors(), is_embedding))
    say("--token-embedding-type", "the model has no token_embd.weight");
  const auto is_stack = [](const GgufTensor& t) { return t.ne[2] > 1; };
  if (mix.unstacked && std::ranges::none_of(model.tensors(), is_stack)) {
    lines.push_back(fmt::format("{}: the model has no stacks of experts, so that all of it becomes {}",
                                mix.name, traits(*mix.unstacked).name));
  }
  for (const TensorType& row : options.tensor_types.rows()) {
    const auto is_named = [&](const GgufTensor& t) { return row.names(t.name); };
    const auto is_decided = [&](const GgufTensor& t) { return deciding_row(options, t) == &row; };
    const std::string flag = fmt::format("--tensor-type {}", printable(row.text));
    if (std::ranges::none_of(model.tensors(), is_named)) {
      say(flag, "no tensor has such a name");
    } else if (std::ranges::none_of(model.tensors(), is_decided)) {
      say(flag, "tensors of such names keep their type, or have it from another flag");
    }
  }
  return lines;
}

}  // namespace lora
