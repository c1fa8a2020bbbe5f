#include "model/model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "arch/alike.h"
#include "arch/blocks.h"
#include "base/error.h"
#include "base/numbers.h"
#include "base/printable.h"
#include "model/build.h"

namespace lora {
namespace {

constexpr std::string_view kOutputTensor = "output.weight";

// Tensors that are read with the metadata, or hold what it says already (old conversions).
bool is_redundant(std::string_view name) {
  return name == "rope_freqs.weight" || name == "rope_factors_long.weight" ||
         name == "rope_factors_short.weight" || name.ends_with(".attn_rot_embd.weight") ||
         name.ends_with(".attn_rot_embd");
}

class FileTensors : public TensorSource {
 public:
  explicit FileTensors(const Gguf& gguf) : gguf_(gguf) {}

  bool has(const std::string& name) const override { return gguf_.find_tensor(name) != nullptr; }

  MatrixView matrix(const std::string& name, int64_t n_out, int64_t n_in, int64_t n_slices) override {
    const GgufTensor* tensor = find(name);
    if (!tensor) missing(name);
    if (tensor->ne[0] != n_in || tensor->ne[1] != n_out || tensor->ne[2] != n_slices || tensor->ne[3] != 1) {
      fail("{}: tensor {}: expected {} x {}{}, found {}", gguf_.path(), name, n_in, n_out,
           n_slices > 1 ? fmt::format(" x {}", n_slices) : "", tensor->shape());
    }
    if (!traits(tensor->type).decode) {
      fail("{}: tensor {}: type {} holds no weights", gguf_.path(), name, traits(tensor->type).name);
    }
    return tensor->matrix();
  }

  std::optional<Buffer<float>> vector(const std::string& name, int64_t n, bool required,
                                      int64_t n_slices) override {
    if (!find(name)) {
      if (required) missing(name);
      return std::nullopt;
    }
    if (const TypeTraits& type = traits(find(name)->type); type.block_size > 1)
      refuse(name,
             fmt::format("type {}, expected F32, F16 or BF16 of a tensor that is no matrix", type.name));
    // As a matrix of so many rows, whatever the number of its dimensions.
    MatrixView rows = matrix(name, n_slices, n, 1);
    Buffer<float> values(n * n_slices);
    for (int64_t i = 0; i < n_slices; ++i) decode_row(values.data() + i * n, rows, i, 0, n);
    return values;
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& why) const override {
    fail("{}: tensor {}: {}", gguf_.path(), name, why);
  }

  bool was_asked_for(std::string_view name) const { return asked_for_.contains(name); }

 private:
  [[noreturn]] void missing(const std::string& name) const { FileTensors::refuse(name, "missing"); }

  const GgufTensor* find(const std::string& name) {
    const GgufTensor* tensor = gguf_.find_tensor(name);
    if (tensor) asked_for_.insert(name);
    return tensor;
  }

  const Gguf& gguf_;
  std::set<std::string, std::less<>> asked_for_;
};

// Whether a tensor named so, without "blk.N.", is one of a block's parts.
bool is_part_of(const LayerSpec& layer, std::string_view tensor) {
  struct IsNamed {
    std::string_view tensor;
    bool& is_found;

    void starts_with(std::string_view name) const {
      is_found |= tensor.starts_with(name) && (tensor.size() == name.size() || tensor[name.size()] == '.');
    }
    void operator()(const NormSpec& norm) const { starts_with(norm.tensor); }
    void operator()(const VectorSpec& vector) const { starts_with(vector.tensor); }
    void operator()(const LinearSpec& linear) const {
      starts_with(linear.tensor);
      // Or a slice of a stack, "ffn_up.3.weight" of "ffn_up_exps".
      const std::string slice = tensor_of_slice(fmt::format("{}.weight", linear.tensor), 0);
      const std::string stem = slice.substr(0, slice.find('.') + 1);
      if (slice.empty() || !tensor.starts_with(stem)) return;
      std::string_view rest = tensor.substr(stem.size());
      is_found |= take_number<uint32_t>(rest).has_value() && rest == ".weight";
    }
  };
  bool is_found = false;
  for_each_part(layer, IsNamed{tensor, is_found});
  return is_found;
}

// Error for a block that has tensors of another kind than the file's keys say it is, or is none by them.
void expect_blocks_as_said(const Gguf& gguf, const ModelConfig& config) {
  const int64_t n_blocks = config.n_layer + config.n_layer_skipped;
  std::vector<std::vector<const GgufTensor*>> blocks(size_t(config.n_layer));
  for (const GgufTensor& tensor : gguf.tensors()) {
    const auto i = block_of(tensor.name);
    if (!i || is_redundant(tensor.name) || config.unused_tensors.contains(tensor.name)) continue;
    if (*i >= n_blocks) {
      fail("{}: tensor {}: of block {}, but {}.block_count is {}", gguf.path(), printable(tensor.name), *i,
           config.architecture->name, n_blocks);
    }
    if (*i < config.n_layer) blocks[size_t(*i)].push_back(&tensor);
  }
  for (int64_t i = 0; i < config.n_layer; ++i) {
    const LayerSpec layer = config.architecture->layer(config, i);
    if (blocks[size_t(i)].empty()) {
      fail("{}: {}.block_count: {}, but there is no tensor of block {}", gguf.path(),
           config.architecture->name, n_blocks, i);
    }
    for (const GgufTensor* tensor : blocks[size_t(i)]) {
      const std::string_view name = std::string_view(tensor->name).substr(tensor->name.find('.', 4) + 1);
      if (is_part_of(layer, name)) continue;
      fail("{}: tensor {}: not known for architecture {}{}", gguf.path(), printable(tensor->name),
           config.architecture->name,
           config.kind_keys.empty()
               ? ""
               : fmt::format(" in block {}, described by {}", i, fmt::join(config.kind_keys, ", ")));
    }
  }
}

// Visits the linear layers of the block that a tensor is in, and the rest of its name.
template <class M, class Visit>
void visit_block_of(M& model, std::string_view tensor, const Visit& visit) {
  constexpr std::string_view kPrefix = "blk.", kSuffix = ".weight";
  if (!tensor.starts_with(kPrefix) || !tensor.ends_with(kSuffix)) return;
  tensor.remove_prefix(kPrefix.size());
  tensor.remove_suffix(kSuffix.size());
  const auto i = take_number<uint32_t>(tensor);
  if (!i || *i >= model.layers.size() || !tensor.starts_with('.')) return;
  visit(model.layers[*i], tensor.substr(1));
}

void check_positions(const ModelConfig& config, int64_t n) {
  if (!config.has_position_table || n <= config.n_ctx_train) return;
  fail("a context of {} tokens: {} models have a table of positions, and this one's ends at {}", n,
       config.architecture->name, config.n_ctx_train);
}

// Names of the tensors that blocks' linear layers are rows of, each once, if is_wanted(Linear, LinearRole).
template <class Wanted>
std::vector<std::string_view> tensors_where(const Model& model, const Wanted& is_wanted) {
  std::vector<std::string_view> names;
  for (const Layer& layer : model.layers) {
    for_each_linear(layer, [&](const Linear& linear, LinearRole role) {
      const bool is_new = std::ranges::find(names, linear.tensor) == names.end();
      if (is_new && is_wanted(linear, role)) names.push_back(linear.tensor);
    });
  }
  return names;
}

template <class Kind>
bool has_body(const Model& model) {
  return std::ranges::any_of(model.layers, [](const Layer& layer) {
    return std::ranges::any_of(layer.branches, [](const Branch& branch) {
      return std::ranges::any_of(branch.bodies,
                                 [](const Body& body) { return std::holds_alternative<Kind>(body); });
    });
  });
}

}  // namespace

size_t kv_slots(const Model& model) {
  int n = 0;
  for (const Layer& layer : model.layers)
    for_each_attention(layer, [&](const Attention& a) { n = std::max(n, a.form.kv_slot + 1); });
  return size_t(n);
}

bool reads_embedding(const Model& model) {
  return has_body<PerLayerInput>(model);
}

bool attends(const Model& model) {
  return has_body<Attention>(model) || has_body<LatentAttention>(model);
}

std::vector<const Linear*> Model::find_linears(std::string_view tensor) const {
  std::vector<const Linear*> found;
  if (tensor == kOutputTensor && !tied) found.push_back(&output);
  visit_block_of(*this, tensor, [&](const Layer& layer, std::string_view name) {
    for_each_linear(layer, [&](const Linear& linear, LinearRole) {
      if (linear.tensor == name) found.push_back(&linear);
    });
  });
  return found;
}

std::vector<Linear*> Model::find_linears(std::string_view tensor) {
  std::vector<Linear*> found;
  for (const Linear* linear : std::as_const(*this).find_linears(tensor)) {
    found.push_back(const_cast<Linear*>(linear));
  }
  return found;
}

Norm* Model::find_norm(std::string_view tensor) {
  if (!output_norm.tensor.empty() && tensor == fmt::format("{}.weight", output_norm.tensor))
    return &output_norm;
  Norm* found = nullptr;
  visit_block_of(*this, tensor, [&](Layer& layer, std::string_view name) {
    for_each_norm(layer, [&](Norm& norm) {
      if (norm.tensor == name) found = &norm;
    });
  });
  return found;
}

std::vector<std::string_view> block_tensors(const Model& model) {
  return tensors_where(model, [](const Linear&, LinearRole) { return true; });
}

std::vector<std::string_view> routed_tensors(const Model& model) {
  return tensors_where(model, [](const Linear& linear, LinearRole role) {
    return role == LinearRole::routes || linear.n_slices > 1;
  });
}

std::vector<RopeTable> make_rope_tables(const ModelConfig& config, int64_t n_positions) {
  check_positions(config, n_positions);
  std::vector<RopeTable> tables;
  tables.push_back(make_rope_table(config.rope, n_positions));
  if (config.rope_swa) tables.push_back(make_rope_table(*config.rope_swa, n_positions));
  return tables;
}

int64_t rope_table_bytes(const ModelConfig& config, int64_t n_positions) {
  check_positions(config, n_positions);
  const auto bytes = [&](const RopeParameters& rope) {
    return 2 * Arena::size_of<float>(n_positions * rope.n_rot / 2);
  };
  return bytes(config.rope) + (config.rope_swa ? bytes(*config.rope_swa) : 0);
}

void build_model(Model& model, bool tied, TensorSource& source) {
  const ModelConfig& c = model.config;
  model.embedding.table = source.matrix("token_embd.weight", c.n_vocab, c.n_embd);
  model.embedding.factor = c.embedding_scale;
  if (c.has_position_table) {
    const MatrixView table = source.matrix("position_embd.weight", c.n_ctx_train, c.n_embd);
    model.embedding.positions = Buffer<float>(c.n_ctx_train * c.n_embd);
    for (int64_t p = 0; p < c.n_ctx_train; ++p)
      decode_row(&model.embedding.positions[p * c.n_embd], table, p, 0, c.n_embd);
  }
  for (int64_t i = 0; i < c.n_layer; ++i) {
    model.layers.push_back(build_layer(c.architecture->layer(c, i), i, c, source, model.biases));
  }
  model.output_norm = build_norm(norm(c, c.architecture->output_norm), "", c.norm_eps, source);
  model.tied = tied;
  if (tied) {
    model.output.w = model.embedding.table;
  } else {
    const LinearSpec output{
        .tensor = "output", .n_out = c.n_vocab, .n_in = c.n_embd, .has_bias = c.output_has_bias};
    model.output = build_linear(output, "", c.n_vocab, source, model.biases);
  }
}

Model load_model(const std::string& path, const ConfigOverrides& overrides) {
  Model model;
  model.gguf = Gguf::open(path);
  model.config = read_config(model.gguf, overrides);
  const ModelConfig& config = model.config;
  if (config.needs_rope_freqs && !model.gguf.find_tensor("rope_freqs.weight"))
    fail("{}: tensor rope_freqs.weight: missing", path);
  expect_blocks_as_said(model.gguf, config);
  FileTensors source(model.gguf);
  build_model(model, model.gguf.find_tensor(kOutputTensor) == nullptr, source);
  if (const auto lost = find_lost(config, [&](const std::string& name) { return source.has(name); }))
    fail("{}: tensor {}: missing, though there is {}", path, lost->name, lost->elsewhere);
  const auto is_skipped = [&](std::string_view name) {
    const auto i = block_of(name);
    return i && *i >= config.n_layer && *i < config.n_layer + config.n_layer_skipped;
  };
  for (const GgufTensor& tensor : model.gguf.tensors()) {
    if (is_skipped(tensor.name)) continue;
    if (!source.was_asked_for(tensor.name) && !is_redundant(tensor.name) &&
        !config.unused_tensors.contains(tensor.name)) {
      fail("{}: tensor {}: not known for architecture {}", path, printable(tensor.name),
           config.architecture->name);
    }
  }
  return model;
}

}  // namespace lora
