#include "gguf/describe.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/printable.h"
#include "gguf/gguf.h"
#include "gguf/gguf_format.h"
#include "gguf/safetensors.h"

namespace lora {
namespace {

using nlohmann::ordered_json;

struct MetadataLine {
  std::string key, type;
  ordered_json value;
};

struct TensorLine {
  std::string name, type;
  std::vector<int64_t> shape;
  int64_t bytes = 0, elements = 0;
};

// Both formats, as both outputs need them.
struct Description {
  std::string format;
  ordered_json version;  // null if the format has none
  uint64_t file_bytes = 0;
  std::vector<MetadataLine> metadata;
  std::vector<TensorLine> tensors;

  int64_t parameters() const {
    int64_t sum = 0;
    for (const TensorLine& tensor : tensors) sum += tensor.elements;
    return sum;
  }
  int64_t tensor_bytes() const {
    int64_t sum = 0;
    for (const TensorLine& tensor : tensors) sum += tensor.bytes;
    return sum;
  }
};

// A number that was stored as f32 is shown with the digits that f32 has: 1e-05, not 9.99999974e-06.
ordered_json floating(double value, GgufValueType stored) {
  if (stored != GgufValueType::f32) return value;
  return std::strtod(fmt::format("{}", float(value)).c_str(), nullptr);
}

struct ToJson {
  const GgufValue& value;

  ordered_json operator()(double number) const { return floating(number, value.type); }
  ordered_json operator()(const std::vector<double>& numbers) const {
    ordered_json array = ordered_json::array();
    for (double number : numbers) array.push_back(floating(number, value.element_type));
    return array;
  }
  ordered_json operator()(const std::vector<uint64_t>& numbers) const {
    if (value.element_type != GgufValueType::boolean) return numbers;
    ordered_json array = ordered_json::array();
    for (uint64_t flag : numbers) array.push_back(flag != 0);
    return array;
  }
  template <class T>
  ordered_json operator()(const T& other) const {
    return other;
  }
};

std::string type_text(const GgufValue& value, const ordered_json& as_json) {
  if (value.type != GgufValueType::array) return std::string(value_type_name(value.type));
  return fmt::format("{}[{}]", value_type_name(value.element_type), as_json.size());
}

Description describe_gguf(const std::string& path) {
  const Gguf gguf = Gguf::open(path);
  Description d{"gguf", gguf.version(), gguf.file_bytes(), {}, {}};
  for (const auto& [key, value] : gguf.values()) {
    ordered_json as_json = std::visit(ToJson{value}, value.value);
    std::string type = type_text(value, as_json);
    d.metadata.push_back({key, std::move(type), std::move(as_json)});
  }
  for (const GgufTensor& tensor : gguf.tensors()) {
    d.tensors.push_back({tensor.name,
                         std::string(traits(tensor.type).name),
                         {tensor.ne, tensor.ne + tensor.n_dims},
                         int64_t(tensor.data.size()),
                         tensor.n_elements()});
  }
  return d;
}

Description describe_safetensors(const std::string& path) {
  const SafeTensors file = SafeTensors::open(path);
  Description d{"safetensors", nullptr, file.file_bytes(), {}, {}};
  for (const auto& [key, value] : file.metadata()) d.metadata.push_back({key, "string", value});
  for (const SafeTensor& tensor : file.tensors()) {
    d.tensors.push_back(
        {tensor.name, tensor.dtype, tensor.shape, int64_t(tensor.data.size()), tensor.n_elements()});
  }
  return d;
}

Description describe(const std::string& path) {
  const MappedFile file(path);
  if (file.text().substr(0, 4) == gguf_magic) return describe_gguf(path);
  // A safetensors file has no magic; its header is a JSON object.
  if (file.text().size() > 8 && file.text()[8] == '{') return describe_safetensors(path);
  refuse_known_kind(file.bytes(), path, "a GGUF or safetensors file");
  fail("{}: neither a GGUF nor a safetensors file (starts with '{}')", path,
       printable(file.text().substr(0, 4)));
}

std::string dump(const ordered_json& value, int indent = -1) {
  return value.dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}

std::string scalar_text(const ordered_json& value, size_t max_bytes) {
  return value.is_string() ? printable(value.get_ref<const std::string&>(), max_bytes) : dump(value);
}

std::string value_text(const ordered_json& value) {
  constexpr size_t shown_elements = 6;
  if (!value.is_array()) return scalar_text(value, 100);
  std::string text = "[";
  for (size_t i = 0; i < std::min(value.size(), shown_elements); ++i) {
    const bool quoted = value[i].is_string();
    text += fmt::format("{}{}{}{}", i ? ", " : "", quoted ? "\"" : "", scalar_text(value[i], 24),
                        quoted ? "\"" : "");
  }
  return text + (value.size() > shown_elements ? ", ...]" : "]");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  if (shape.empty()) return "scalar";
  std::string text = std::to_string(shape[0]);
  for (size_t i = 1; i < shape.size(); ++i) text += fmt::format(" x {}", shape[i]);
  return text;
}

std::string size_text(uint64_t bytes) {
  constexpr const char* units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::string text = fmt::format("{} bytes", bytes);
  double scaled = double(bytes);
  const char* unit = nullptr;
  for (size_t i = 0; i < std::size(units) && scaled >= 1024; ++i) {
    scaled /= 1024;
    unit = units[i];
  }
  return unit ? text + fmt::format(" ({:.2f} {})", scaled, unit) : text;
}

// Rows of text under each other: every column but the last as wide as its widest cell, up to a limit
// that one odd name cannot push the others beyond.
std::string columns(const std::vector<std::vector<std::string>>& rows) {
  constexpr size_t widest = 48;
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], std::min(widest, row[i].size()));
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) text += fmt::format("  {:<{}}", row[i], widths[i]);
    text += fmt::format("  {}\n", row.back());
  }
  return text;
}

}  // namespace

std::string describe_as_text(const std::string& path) {
  const Description d = describe(path);
  const std::string version = d.version.is_null() ? "" : fmt::format(" version {}", dump(d.version));
  std::string text = fmt::format("{}: {}{}, {}\n", path, d.format, version, size_text(d.file_bytes));

  std::vector<std::vector<std::string>> rows;
  for (const MetadataLine& line : d.metadata) {
    rows.push_back({printable(line.key), line.type, value_text(line.value)});
  }
  text += fmt::format("\nmetadata ({})\n{}", rows.size(), columns(rows));

  rows.clear();
  for (const TensorLine& tensor : d.tensors) {
    rows.push_back({printable(tensor.name), tensor.type, shape_text(tensor.shape),
                    fmt::format("{} bytes", tensor.bytes)});
  }
  text += fmt::format("\ntensors ({})\n{}", rows.size(), columns(rows));

  text += fmt::format("\ntotal: {} parameters", d.parameters());
  if (d.parameters() > 0) {
    text += fmt::format(", {}, {:.3f} bits per weight", size_text(uint64_t(d.tensor_bytes())),
                        8.0 * double(d.tensor_bytes()) / double(d.parameters()));
  }
  return text + "\n";
}

std::string describe_as_json(const std::string& path) {
  const Description d = describe(path);
  ordered_json tensors = ordered_json::array();
  ordered_json::object_t metadata;  // keys are unique by now; appending as to a vector skips a search per key
  for (const MetadataLine& line : d.metadata) metadata.emplace_back(line.key, line.value);
  for (const TensorLine& tensor : d.tensors) {
    tensors.push_back(
        {{"name", tensor.name}, {"type", tensor.type}, {"shape", tensor.shape}, {"bytes", tensor.bytes}});
  }
  ordered_json out = {{"format", d.format},        {"version", d.version}, {"file_bytes", d.file_bytes},
                      {"metadata", metadata},      {"tensors", tensors},   {"parameters", d.parameters()},
                      {"bits_per_weight", nullptr}};
  if (d.parameters() > 0) out["bits_per_weight"] = 8.0 * double(d.tensor_bytes()) / double(d.parameters());
  return dump(out, 1) + "\n";
}

}  // namespace lora
