#include "convert/hf_weights.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/path.h"
#include "base/printable.h"
#include "convert/json_file.h"

namespace lora {
namespace {

using nlohmann::json;

// Tensor to file, as model.safetensors.index.json says.
using WeightMap = std::map<std::string, std::string, std::less<>>;

struct Files {
  std::vector<std::string> names;
  std::optional<WeightMap> map;
  std::string index;
};

std::optional<Files> indexed(const std::string& folder, const std::string& index) {
  const std::string path = folder + "/" + index;
  if (!file_exists(path)) return std::nullopt;
  const json root = read_json_file(path);
  const json* entries = json_field(root, "weight_map");
  if (!entries || !entries->is_object()) fail("{}: weight_map: missing", path);
  Files files{{}, WeightMap{}, path};
  std::set<std::string> names;
  for (const auto& [tensor, file] : entries->items()) {
    if (!file.is_string()) fail("{}: weight_map: tensor '{}' has no file's name", path, printable(tensor));
    const auto name = file.get<std::string>();
    if (!is_plain_name(name)) {
      fail("{}: weight_map: '{}' is not the name of a file in the folder", path, printable(name));
    }
    names.insert(name);
    files.map->emplace(tensor, name);
  }
  files.names.assign(names.begin(), names.end());
  for (const std::string& name : files.names) {
    if (!file_exists(folder + "/" + name)) {
      fail("{}: missing, {} puts {} of the {} tensors there", folder + "/" + name, index,
           std::count_if(files.map->begin(), files.map->end(),
                         [&](const auto& e) { return e.second == name; }),
           files.map->size());
    }
  }
  return files;
}

// Without an index a set of shards is complete if it is as large as the shards' names say: -00001-of-00003.
void check_shards(const std::string& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const size_t of = name.rfind("-of-");
    if (of == name.npos) continue;
    const size_t n = size_t(std::strtoul(name.c_str() + of + 4, nullptr, 10));
    if (n != names.size()) {
      fail("{}/{}: one of {} shards, of which {} are in the folder", folder, printable(name), n,
           names.size());
    }
  }
}

std::vector<std::string> named(const std::vector<std::string>& all, std::string_view begin,
                               std::string_view end) {
  std::vector<std::string> names;
  for (const std::string& name : all) {
    // Mistral's folders hold the weights a second time as consolidated*.safetensors, under other names.
    if (name.starts_with(begin) && name.ends_with(end) && !name.starts_with("consolidated") &&
        !name.starts_with("adapter_")) {
      names.push_back(name);
    }
  }
  return names;
}

Files find_files(const std::string& folder, const std::function<void(std::string_view)>& say) {
  std::vector<std::string> all = files_in(folder);
  // What macOS leaves on foreign disks beside each file.
  std::erase_if(all, [&](const std::string& name) {
    const bool is_mac = name.starts_with("._");
    if (is_mac && (name.ends_with(".safetensors") || name.ends_with(".bin"))) {
      say(fmt::format("{}/{}: a ._ file of macOS, not weights: left out", folder, printable(name)));
    }
    return is_mac;
  });
  if (auto files = indexed(folder, "model.safetensors.index.json")) return *files;
  Files files;
  files.names = named(all, "model", ".safetensors");
  if (files.names.empty()) files.names = named(all, "", ".safetensors");
  if (files.names.empty()) {
    if (auto pickles = indexed(folder, "pytorch_model.bin.index.json")) return *pickles;
    files.names = named(all, "pytorch_model", ".bin");
  }
  if (files.names.empty()) fail("{}: no model*.safetensors and no pytorch_model*.bin in the folder", folder);
  check_shards(folder, files.names);
  return files;
}

// A weight's name without what PEFT puts around it in a model that has adapters.
std::string without_peft(std::string name) {
  constexpr std::string_view wrapper = "base_model.model.", layer = ".base_layer.";
  if (name.starts_with(wrapper)) name.erase(0, wrapper.size());
  if (const size_t at = name.find(layer); at != name.npos) name.erase(at, layer.size() - 1);
  return name;
}

// What PEFT keeps beside a model's own weights; "" for those.
std::string_view part_of_peft(std::string_view name) {
  constexpr std::string_view lora = "a LoRA among the weights", module = "a module that PEFT has a copy of";
  constexpr std::pair<std::string_view, std::string_view> kParts[] = {
      {".lora_A.", lora},
      {".lora_B.", lora},
      {".lora_embedding_", lora},
      {".lora_magnitude_vector", lora},
      {".modules_to_save.", module},
      {".original_module.", module},
  };
  for (const auto& [part, what] : kParts) {
    if (name.find(part) != name.npos) return what;
  }
  return "";
}

}  // namespace

HfWeights HfWeights::open(const std::string& folder, const std::function<void(std::string_view)>& say) {
  const Files files = find_files(folder, say);
  HfWeights weights;
  int64_t n_renamed = 0;
  for (const std::string& name : files.names) {
    const std::string path = folder + "/" + name;
    const size_t file = weights.files_.size();
    const auto add = [&](size_t index, const std::string& tensor, const std::string& dtype,
                         const std::vector<int64_t>& shape) {
      if (files.map) {
        const auto entry = files.map->find(tensor);
        if (entry != files.map->end() && entry->second != name) return;  // another file's is meant
      }
      if (const std::string_view what = part_of_peft(tensor); !what.empty()) {
        fail(
            "{}: tensor '{}': {}; save the model after PEFT's merge_and_unload(), or "
            "convert the model as it was before and its adapter with lora convert-lora",
            path, printable(tensor), what);
      }
      const std::string name_in_model = without_peft(tensor);
      n_renamed += name_in_model != tensor;
      const auto [at, is_new] = weights.tensors_.emplace(name_in_model, HfTensor{dtype, shape, file, index});
      if (!is_new) {
        fail("{}: tensor '{}' is in {} too", path, printable(tensor), weights.path_of(at->second));
      }
    };
    if (name.ends_with(".safetensors")) {
      weights.files_.emplace_back(SafeTensors::open(path));
      const auto& opened = std::get<SafeTensors>(weights.files_.back());
      weights.file_bytes_ += opened.file_bytes();
      for (size_t i = 0; i < opened.tensors().size(); ++i) {
        add(i, opened.tensors()[i].name, opened.tensors()[i].dtype, opened.tensors()[i].shape);
      }
    } else {
      weights.files_.emplace_back(PytorchFile::open(path));
      const auto& opened = std::get<PytorchFile>(weights.files_.back());
      weights.file_bytes_ += MappedFile(path).bytes().size();
      for (size_t i = 0; i < opened.tensors().size(); ++i) {
        add(i, opened.tensors()[i].name, opened.tensors()[i].dtype, opened.tensors()[i].shape);
      }
    }
  }
  if (files.map) {
    for (const auto& [tensor, name] : *files.map) {
      if (!weights.tensors_.contains(without_peft(tensor))) {
        fail("{}/{}: tensor '{}' is missing, {} puts it there", folder, name, printable(tensor), files.index);
      }
    }
  }
  if (n_renamed > 0) {
    say(fmt::format(
        "{}: {} tensors have the names that PEFT gives them under an adapter; taken as the model's", folder,
        n_renamed));
  }
  return weights;
}

const HfTensor* HfWeights::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::string HfWeights::output_module(std::span<const HfModule> root) const {
  const std::string name(root.back().hf), within = "language_model." + name;
  return !find(name + ".weight") && find(within + ".weight") ? within : name;
}

std::optional<std::string> HfWeights::prefix(std::span<const HfModule> root) const {
  for (const std::string_view candidate : hf::kPrefixes) {
    if (find(fmt::format("{}{}.weight", candidate, root.front().hf))) return std::string(candidate);
  }
  return std::nullopt;
}

bool HfWeights::are_equal(const HfTensor& a, const HfTensor& b) const {
  if (a.dtype != b.dtype || a.shape != b.shape) return false;
  std::vector<std::byte> buffer_a, buffer_b;
  const SafeTensor left = load(a, buffer_a), right = load(b, buffer_b);
  return std::ranges::equal(left.data, right.data);
}

const std::string& HfWeights::path_of(const HfTensor& tensor) const {
  return std::visit([](const auto& file) -> const std::string& { return file.path(); }, files_[tensor.file]);
}

SafeTensor HfWeights::load(const HfTensor& tensor, std::vector<std::byte>& buffer) const {
  if (const auto* file = std::get_if<SafeTensors>(&files_[tensor.file])) return file->tensors()[tensor.index];
  const auto& file = std::get<PytorchFile>(files_[tensor.file]);
  return file.read(file.tensors()[tensor.index], buffer);
}

void HfWeights::release(const HfTensor& tensor) const {
  if (const auto* file = std::get_if<SafeTensors>(&files_[tensor.file])) {
    MappedFile::release(file->tensors()[tensor.index].data);
  }
}

}  // namespace lora
