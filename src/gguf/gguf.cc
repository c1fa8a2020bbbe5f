#include "gguf/gguf.h"

#include <limits>

#include "base/error.h"
#include "base/numbers.h"
#include "base/printable.h"
#include "gguf/part_name.h"

namespace lora {
namespace {

void expect_split_key(const Gguf& part, std::string_view key, int64_t expected) {
  const auto found = part.get_int(key);
  if (!found) fail("{}: key '{}' is missing from this part of a split model", part.path(), key);
  if (*found != expected) fail("{}: key '{}' is {}, expected {}", part.path(), key, *found, expected);
}

// The integer in a value, nullopt if it is none or exceeds int64_t.
std::optional<int64_t> as_int(const GgufValue& value) {
  if (const auto* i = std::get_if<int64_t>(&value.value)) return *i;
  const auto* u = std::get_if<uint64_t>(&value.value);
  if (!u || *u > uint64_t(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return int64_t(*u);
}

}  // namespace

std::string GgufTensor::shape() const {
  std::string text = std::to_string(ne[0]);
  for (int i = 1; i < n_dims; ++i) text += " x " + std::to_string(ne[i]);
  return text;
}

std::optional<int64_t> block_of(std::string_view tensor) {
  if (!tensor.starts_with("blk.")) return std::nullopt;
  tensor.remove_prefix(4);
  return take_number<uint32_t>(tensor);
}

Gguf Gguf::open(const std::string& path) {
  if (file_exists(path + "/config.json")) {
    fail("{}: a Hugging Face folder, not a GGUF file; lora convert makes one of it", path);
  }
  const auto open_file = [](const std::string& file_path) {
    MappedFile file(file_path);
    Gguf gguf = parse(file.bytes(), file_path);
    gguf.files_.push_back(std::move(file));
    return gguf;
  };
  Gguf opened = open_file(path);
  const int64_t n_parts = opened.get_int("split.count").value_or(1);
  if (n_parts <= 1) return opened;

  const auto name = parse_part_name(path);
  if (!name || name->count != n_parts) {
    fail("{}: a part of a split model (split.count {}) must be named NAME-00001-of-{:05}.gguf", path, n_parts,
         n_parts);
  }
  expect_split_key(opened, "split.no", name->number - 1);
  Gguf all = open_file(part_path({name->prefix, 1, n_parts}));
  expect_split_key(all, "split.no", 0);
  expect_split_key(all, "split.count", n_parts);
  const auto n_tensors = all.get_int("split.tensors.count");
  for (int64_t number = 2; number <= n_parts; ++number) {
    Gguf part = open_file(part_path({name->prefix, number, n_parts}));
    expect_split_key(part, "split.no", number - 1);
    expect_split_key(part, "split.count", n_parts);
    if (n_tensors) expect_split_key(part, "split.tensors.count", *n_tensors);
    all.file_bytes_ += part.file_bytes_;
    for (MappedFile& file : part.files_) all.files_.push_back(std::move(file));
    for (GgufTensor& tensor : part.tensors_) all.tensors_.push_back(std::move(tensor));
  }
  all.path_ = path;
  if (n_tensors && *n_tensors != int64_t(all.tensors_.size())) {
    fail("{}: the {} parts hold {} tensors, expected {} (split.tensors.count)", path, n_parts,
         all.tensors_.size(), *n_tensors);
  }
  all.index_tensors();
  return all;
}

void Gguf::index_tensors() {
  tensor_index_.clear();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (!tensor_index_.emplace(tensors_[i].name, i).second) {
      fail("{}: tensor '{}' occurs twice", path_, printable(tensors_[i].name));
    }
  }
}

const GgufTensor* Gguf::find_tensor(std::string_view name) const {
  const auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

const GgufTensor& Gguf::tensor(std::string_view name) const {
  const GgufTensor* found = find_tensor(name);
  if (!found) fail("{}: tensor '{}' is missing", path_, printable(name));
  return *found;
}

Gguf Gguf::of_values(std::string path, std::vector<std::pair<std::string, GgufValue>> values) {
  Gguf gguf;
  gguf.path_ = std::move(path);
  gguf.values_ = std::move(values);
  for (size_t i = 0; i < gguf.values_.size(); ++i) gguf.value_index_.emplace(gguf.values_[i].first, i);
  return gguf;
}

const GgufValue* Gguf::find(std::string_view key) const {
  const auto it = value_index_.find(key);
  return it == value_index_.end() ? nullptr : &values_[it->second].second;
}

void Gguf::fail_type(std::string_view key, std::string_view expected) const {
  const GgufValue& value = *find(key);
  std::string found(value_type_name(value.type));
  if (value.type == GgufValueType::array) found += fmt::format(" of {}", value_type_name(value.element_type));
  fail("{}: key '{}' is a value of type {}, expected {}", path_, printable(key), found, expected);
}

std::optional<std::string> Gguf::get_string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto* text = std::get_if<std::string>(&value->value);
  if (!text) fail_type(key, "a string");
  return *text;
}

std::optional<int64_t> Gguf::get_int(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto number = as_int(*value);
  if (!number) fail_type(key, "an integer of at most 63 bits");
  return number;
}

std::optional<double> Gguf::get_float(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto* number = std::get_if<double>(&value->value);
  if (!number) fail_type(key, "a floating-point number");
  return *number;
}

std::optional<bool> Gguf::get_bool(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto* flag = std::get_if<bool>(&value->value);
  if (!flag) fail_type(key, "a bool");
  return *flag;
}

const std::vector<std::string>* Gguf::get_strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return nullptr;
  const auto* strings = std::get_if<std::vector<std::string>>(&value->value);
  if (!strings) fail_type(key, "an array of strings");
  return strings;
}

std::optional<std::vector<int64_t>> Gguf::get_ints(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* ints = std::get_if<std::vector<int64_t>>(&value->value)) return *ints;
  const auto* unsigneds = std::get_if<std::vector<uint64_t>>(&value->value);
  if (!unsigneds) fail_type(key, "an array of integers");
  std::vector<int64_t> ints;
  ints.reserve(unsigneds->size());
  for (uint64_t u : *unsigneds) {
    if (u > uint64_t(std::numeric_limits<int64_t>::max())) fail_type(key, "integers of at most 63 bits");
    ints.push_back(int64_t(u));
  }
  return ints;
}

std::optional<std::vector<double>> Gguf::get_floats(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto* floats = std::get_if<std::vector<double>>(&value->value);
  if (!floats) fail_type(key, "an array of floating-point numbers");
  return *floats;
}

void Gguf::give_back(std::span<const std::byte> data) const {
  for (const MappedFile& file : files_) {
    const std::byte* const begin = std::max(data.data(), file.bytes().data());
    const std::byte* const end =
        std::min(data.data() + data.size(), file.bytes().data() + file.bytes().size());
    if (begin < end) file.give_back({begin, end});
  }
}

}  // namespace lora
