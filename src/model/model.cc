#include "model/model.h"

#include <set>
#include <utility>

#include "base/error.h"

namespace lora {
namespace {

// Tensors of old conversions that hold what the metadata says already.
bool is_redundant(std::string_view name) {
  return name == "rope_freqs.weight" || name.ends_with(".attn_rot_embd.weight") ||
         name.ends_with(".attn_rot_embd");
}

struct Loader {
  Model& model;
  std::set<std::string, std::less<>> used;

  const GgufTensor* find(const std::string& name) {
    const GgufTensor* tensor = model.gguf.find_tensor(name);
    if (tensor) used.insert(name);
    return tensor;
  }

  MatrixView matrix(const std::string& name, int64_t n_out, int64_t n_in) {
    const GgufTensor* tensor = find(name);
    if (!tensor) fail("{}: tensor {}: missing", model.gguf.path(), name);
    if (tensor->ne[0] != n_in || tensor->ne[1] != n_out || tensor->n_elements() != n_in * n_out) {
      fail("{}: tensor {}: expected {} x {}, found {}", model.gguf.path(), name, n_in, n_out,
           tensor->shape());
    }
    if (!traits(tensor->type).decode) {
      fail("{}: tensor {}: type {} holds no weights", model.gguf.path(), name, traits(tensor->type).name);
    }
    return tensor->matrix();
  }

  Buffer<float> vector(const std::string& name, int64_t n) {
    Buffer<float> values(n);
    decode_row(values.data(), matrix(name, 1, n), 0, 0, n);
    return values;
  }

  Linear linear(const std::string& name, int64_t n_out, int64_t n_in) {
    Linear result{matrix(name + ".weight", n_out, n_in), nullptr, {}};
    if (find(name + ".bias")) {
      model.biases.push_back(vector(name + ".bias", n_out));
      result.bias = model.biases.back().data();
    }
    return result;
  }
};

}  // namespace

std::span<const LinearRow> linear_rows() {
  using C = ModelConfig;
  static const LinearRow rows[] = {
      {"attn_q", &Layer::q, [](const C& c) { return c.n_embd_q(); }, [](const C& c) { return c.n_embd; }},
      {"attn_k", &Layer::k, [](const C& c) { return c.n_embd_kv(); }, [](const C& c) { return c.n_embd; }},
      {"attn_v", &Layer::v, [](const C& c) { return c.n_embd_kv(); }, [](const C& c) { return c.n_embd; }},
      {"attn_output", &Layer::o, [](const C& c) { return c.n_embd; },
       [](const C& c) { return c.n_embd_q(); }},
      {"ffn_gate", &Layer::gate, [](const C& c) { return c.n_ff; }, [](const C& c) { return c.n_embd; }},
      {"ffn_up", &Layer::up, [](const C& c) { return c.n_ff; }, [](const C& c) { return c.n_embd; }},
      {"ffn_down", &Layer::down, [](const C& c) { return c.n_embd; }, [](const C& c) { return c.n_ff; }},
  };
  return rows;
}

const Linear* Model::find_linear(std::string_view tensor) const {
  if (tensor == "output.weight") return tied ? nullptr : &output;
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string prefix = fmt::format("blk.{}.", i);
    if (!tensor.starts_with(prefix)) continue;
    for (const LinearRow& row : linear_rows()) {
      if (tensor.substr(prefix.size()) == fmt::format("{}.weight", row.name)) return &(layers[i].*row.member);
    }
  }
  return nullptr;
}

Linear* Model::find_linear(std::string_view tensor) {
  return const_cast<Linear*>(std::as_const(*this).find_linear(tensor));
}

Norm* Model::find_norm(std::string_view tensor) {
  if (tensor == "output_norm.weight") return &output_norm;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (tensor == fmt::format("blk.{}.attn_norm.weight", i)) return &layers[i].attn_norm;
    if (tensor == fmt::format("blk.{}.ffn_norm.weight", i)) return &layers[i].ffn_norm;
  }
  return nullptr;
}

Model load_model(const std::string& path, const ConfigOverrides& overrides) {
  Model model;
  model.gguf = Gguf::open(path);
  model.config = read_config(model.gguf, overrides);
  const ModelConfig& config = model.config;
  Loader loader{model, {}};
  model.embedding.table = loader.matrix("token_embd.weight", config.n_vocab, config.n_embd);
  model.layers.resize(size_t(config.n_layer));
  for (int64_t i = 0; i < config.n_layer; ++i) {
    Layer& layer = model.layers[size_t(i)];
    const std::string prefix = fmt::format("blk.{}.", i);
    layer.attn_norm.gain = loader.vector(prefix + "attn_norm.weight", config.n_embd);
    layer.ffn_norm.gain = loader.vector(prefix + "ffn_norm.weight", config.n_embd);
    for (const LinearRow& row : linear_rows()) {
      layer.*row.member = loader.linear(prefix + std::string(row.name), row.n_out(config), row.n_in(config));
    }
  }
  model.output_norm.gain = loader.vector("output_norm.weight", config.n_embd);
  model.tied = model.gguf.find_tensor("output.weight") == nullptr;
  model.output = model.tied ? Linear{model.embedding.table, nullptr, {}}
                            : loader.linear("output", config.n_vocab, config.n_embd);
  for (const GgufTensor& tensor : model.gguf.tensors()) {
    if (!loader.used.contains(tensor.name) && !is_redundant(tensor.name)) {
      fail("{}: tensor {}: not known for architecture {}", path, tensor.name, config.architecture->name);
    }
  }
  return model;
}

}  // namespace lora
