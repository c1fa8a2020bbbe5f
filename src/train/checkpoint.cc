#include "train/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"

namespace lora {
namespace {

constexpr uint32_t kVersion = 1;
constexpr std::string_view kSetting = "lora_cpp.setting.";

// The stored arrays of one pair: name, shape and where they are. One list for writing and reading.
template <class Parameters, class Body>
void for_each_array(Parameters& parameters, const Body& body) {
  for (const auto& pair : parameters.pairs) {
    const auto both = [&](auto& buffer, const char* suffix) {
      body(pair.base + ".lora_a" + suffix, std::vector<int64_t>{pair.n_in, pair.rank},
           buffer.data() + pair.a);
      body(pair.base + ".lora_b" + suffix, std::vector<int64_t>{pair.rank, pair.n_out},
           buffer.data() + pair.b);
    };
    both(parameters.values, "");
    both(parameters.m, ".m");
    both(parameters.v, ".v");
  }
}

Gguf open_checkpoint(const std::string& path) {
  Gguf gguf = Gguf::open(path);
  if (gguf.get_string("general.type").value_or("") != "checkpoint")
    fail("{}: not a checkpoint of this program", path);
  const int64_t version = gguf.get_int("lora_cpp.checkpoint.version").value_or(-1);
  if (version != kVersion) fail("{}: checkpoint version {}, expected {}", path, version, kVersion);
  return gguf;
}

uint64_t required(const Gguf& gguf, const char* key) {
  const auto value = gguf.get_int(key);
  if (!value || *value < 0) fail("{}: {}: missing or negative", gguf.path(), key);
  return uint64_t(*value);
}

}  // namespace

void write_checkpoint(const std::string& path, const LoraParameters& parameters, const TrainState& state,
                      const Settings& settings, const Model& model) {
  GgufWriter writer;
  writer.set_string("general.type", "checkpoint");
  writer.set_string("general.architecture", std::string(model.config.architecture->name));
  writer.set_u32("lora_cpp.checkpoint.version", kVersion);
  writer.set_u64("lora_cpp.checkpoint.iteration", uint64_t(state.iteration));
  writer.set_u64("lora_cpp.checkpoint.cursor", state.cursor);
  writer.set_u64("lora_cpp.checkpoint.seed", state.seed);
  writer.set_f32("lora_cpp.checkpoint.alpha", parameters.alpha);
  for (const auto& [name, value] : settings) writer.set_string(std::string(kSetting) + name, value);
  for_each_array(parameters, [&](const std::string& name, std::vector<int64_t> ne, const float* data) {
    writer.add_tensor(name, Type::F32, ne, std::as_bytes(std::span(data, size_t(ne[0] * ne[1]))));
  });
  writer.write(path);
}

uint64_t read_checkpoint_seed(const std::string& path) {
  return required(open_checkpoint(path), "lora_cpp.checkpoint.seed");
}

TrainState read_checkpoint(const std::string& path, LoraParameters& parameters, const Settings& settings) {
  const Gguf gguf = open_checkpoint(path);
  for (const auto& [name, value] : settings) {
    const std::string found = gguf.get_string(std::string(kSetting) + name).value_or("(not recorded)");
    if (found != value) fail("{}: {} differs: {} in the checkpoint, {} now", path, name, found, value);
  }
  TrainState state;
  state.iteration = int64_t(required(gguf, "lora_cpp.checkpoint.iteration"));
  state.cursor = required(gguf, "lora_cpp.checkpoint.cursor");
  state.seed = required(gguf, "lora_cpp.checkpoint.seed");
  size_t n_arrays = 0;
  for_each_array(parameters, [&](const std::string& name, std::vector<int64_t> ne, float* data) {
    const GgufTensor* tensor = gguf.find_tensor(name);
    if (!tensor) fail("{}: tensor {}: missing", path, name);
    if (tensor->type != Type::F32 || tensor->ne[0] != ne[0] || tensor->ne[1] != ne[1] ||
        tensor->n_elements() != ne[0] * ne[1]) {
      fail("{}: tensor {}: expected F32 {} x {}, found {} {} (another rank?)", path, name, ne[0], ne[1],
           traits(tensor->type).name, tensor->shape());
    }
    std::memcpy(data, tensor->data.data(), tensor->data.size());
    ++n_arrays;
  });
  if (gguf.tensors().size() != n_arrays) {
    fail("{}: {} tensors, expected {} (another set of trained tensors?)", path, gguf.tensors().size(),
         n_arrays);
  }
  return state;
}

uint64_t fingerprint(const Gguf& gguf) {
  constexpr size_t kSample = 4096;
  uint64_t h = hash(fmt::format("{}", gguf.file_bytes()));
  for (const GgufTensor& tensor : gguf.tensors()) {
    h = hash(fmt::format("{} {} {}", tensor.name, uint32_t(tensor.type), tensor.shape()), h);
    const std::string_view bytes(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
    for (const size_t part : {size_t{0}, size_t{1}, size_t{2}}) {  // beginning, middle, end
      const size_t begin = (bytes.size() - std::min(bytes.size(), kSample)) / 2 * part;
      h = hash(bytes.substr(begin, kSample), h);
    }
  }
  return h;
}

}  // namespace lora
