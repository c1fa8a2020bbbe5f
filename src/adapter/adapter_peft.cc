#include <algorithm>
#include <functional>
#include <map>

#include "adapter/adapter.h"
#include "adapter/pairs.h"
#include "adapter/peft_config.h"
#include "adapter/peft_names.h"
#include "base/error.h"
#include "base/file.h"
#include "gguf/printable.h"
#include "gguf/pytorch.h"
#include "gguf/safetensors.h"

namespace lora {
namespace {

// Endings of tensor names; ".default" is the adapter's name where it was saved with it.
struct Ending {
  std::string_view text;
  bool is_b;
};
constexpr Ending kEndings[] = {
    {".lora_A.weight", false},
    {".lora_B.weight", true},
    {".lora_A.default.weight", false},
    {".lora_B.default.weight", true},
    {".lora_embedding_A", false},
    {".lora_embedding_B", true},
    {".lora_embedding_A.default", false},
    {".lora_embedding_B.default", true},
};

[[noreturn]] void refuse_tensor(const std::string& path, const std::string& name) {
  if (name.find("lora_magnitude_vector") != std::string::npos) {
    fail("{}: tensor {}: DoRA adapters are not supported", path, printable(name));
  }
  if (name.ends_with(".bias"))
    fail("{}: tensor {}: adapters with biases are not supported", path, printable(name));
  if (name.find(".lora_") == std::string::npos) {
    fail("{}: tensor {}: whole modules beside the LoRA (modules_to_save) are not supported", path,
         printable(name));
  }
  fail("{}: tensor {}: expected a name that ends in .lora_A.weight or .lora_B.weight", path, printable(name));
}

// Only B has the rows that are reordered (hf_names.h).
void interleave_halves(LoraHalf& b, int64_t n_head, const std::string& path) {
  if (n_head < 1 || b.n_rows % (2 * n_head) != 0) {
    fail(
        "{}: tensor {}: expected a multiple of 2 rows for each of {} heads, found {}: an adapter for another "
        "model?",
        path, b.tensor, n_head, b.n_rows);
  }
  std::vector<float> moved;
  moved.reserve(b.values.size());
  for (int64_t row = 0; row < b.n_rows; ++row) {
    const auto from = b.values.begin() + hf_row(row, b.n_rows / n_head) * b.n_cols;
    moved.insert(moved.end(), from, from + b.n_cols);
  }
  b.values = std::move(moved);
}

struct PeftHalf {
  LoraHalf half;
  std::string module;  // "model.layers.0.self_attn.q_proj"
};

PeftHalf read_half(const SafeTensor& tensor, const std::string& path, const PeftBase& base) {
  const auto ending = std::find_if(std::begin(kEndings), std::end(kEndings),
                                   [&](const Ending& e) { return tensor.name.ends_with(e.text); });
  constexpr std::string_view wrapper = "base_model.model.";
  if (ending == std::end(kEndings) || !tensor.name.starts_with(wrapper)) refuse_tensor(path, tensor.name);
  PeftHalf result;
  const size_t name_size = tensor.name.size() - ending->text.size();
  if (name_size > wrapper.size())
    result.module = tensor.name.substr(wrapper.size(), name_size - wrapper.size());
  const auto target = peft_target(base.architecture, result.module);
  if (!target) {
    fail("{}: tensor {}: architecture {} has no such module: an adapter for another model?", path,
         tensor.name, base.architecture);
  }
  if (tensor.shape.size() != 2) {
    fail("{}: tensor {}: expected 2 dimensions, found {}", path, printable(tensor.name), tensor.shape.size());
  }
  LoraHalf& half = result.half;
  half.base = target->base;
  half.tensor = printable(tensor.name);
  half.is_b = ending->is_b;
  half.n_rows = tensor.shape[0];
  half.n_cols = tensor.shape[1];
  check_not_empty(half, path);
  half.values = tensor.to_f32();
  if (half.is_b && target->order != RowOrder::as_is) {
    interleave_halves(half, target->order == RowOrder::heads ? base.n_head : base.n_head_kv, path);
  }
  return result;
}

void for_each_tensor(const std::string& path, const std::function<void(const SafeTensor&)>& use) {
  if (!path.ends_with(".bin")) {
    const SafeTensors file = SafeTensors::open(path);
    for (const SafeTensor& tensor : file.tensors()) use(tensor);
    return;
  }
  const PytorchFile file = PytorchFile::open(path);
  std::vector<std::byte> bytes;
  for (const PytorchTensor& tensor : file.tensors()) use(file.read(tensor, bytes));
}

}  // namespace

PeftBase peft_base(const Gguf& base) {
  PeftBase result;
  result.architecture = base.get_string("general.architecture").value_or("");
  const auto n_head = base.get_int(result.architecture + ".attention.head_count");
  if (!n_head) fail("{}: key {}.attention.head_count: missing", base.path(), result.architecture);
  result.n_head = *n_head;
  result.n_head_kv = base.get_int(result.architecture + ".attention.head_count_kv").value_or(*n_head);
  return result;
}

Adapter read_adapter_peft(const std::string& folder, const PeftBase& base) {
  if (!peft_knows(base.architecture)) {
    fail("{}: PEFT adapters for architecture {} are not yet available", folder, base.architecture);
  }
  const PeftConfig config = read_peft_config(folder + "/adapter_config.json");
  const std::string pickle = folder + "/adapter_model.bin";
  std::string path = folder + "/adapter_model.safetensors";
  if (!file_exists(path) && file_exists(pickle)) path = pickle;
  Adapter adapter;
  adapter.architecture = base.architecture;
  adapter.alpha = float(config.lora_alpha);
  adapter.base_model = config.base_model;
  std::vector<LoraHalf> halves;
  std::map<std::string, std::string> module_of;
  for_each_tensor(path, [&](const SafeTensor& tensor) {
    PeftHalf read = read_half(tensor, path, base);
    module_of[read.half.base] = read.module;
    halves.push_back(std::move(read.half));
  });
  pair_up(adapter, std::move(halves), path);
  for (LoraPair& pair : adapter.pairs) {
    const std::string& module = module_of[pair.base];
    if (pair.rank != config.rank(module)) {
      fail("{}: module {}: expected rank {} as in adapter_config.json, found {}", path, module,
           config.rank(module), pair.rank);
    }
    fold_scale(adapter, pair, config.scale(module));
  }
  return adapter;
}

}  // namespace lora
