#include "gguf/describe.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
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
  std::string key;
  GgufValue own{};  // where no file holds it as such
  const GgufValue* of_file = nullptr;

  const GgufValue& value() const { return of_file ? *of_file : own; }
};

struct TensorLine {
  std::string name, type;
  std::vector<int64_t> shape;
  int64_t bytes = 0, elements = 0;
};

// Both formats, as both outputs need them.
struct Description {
  std::optional<Gguf> gguf{};  // whose values the metadata refers to
  std::string format;
  ordered_json version{};  // null if the format has none
  uint64_t file_bytes = 0;
  std::vector<MetadataLine> metadata{};
  std::vector<TensorLine> tensors{};
  std::optional<int64_t> active_parameters{};

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

// The value, or of an array the element at i; never an array whole, which may hold millions.
struct ToJson {
  const GgufValue& value;
  size_t i = 0;

  ordered_json operator()(double number) const { return floating(number, value.type); }
  ordered_json operator()(const std::vector<double>& numbers) const {
    return floating(numbers[i], value.element_type);
  }
  ordered_json operator()(const std::vector<uint64_t>& numbers) const {
    if (value.element_type == GgufValueType::boolean) return numbers[i] != 0;
    return numbers[i];
  }
  template <class T>
  ordered_json operator()(const std::vector<T>& others) const {
    return others[i];
  }
  template <class T>
  ordered_json operator()(const T& other) const {
    return other;
  }
};

ordered_json to_json(const GgufValue& value, size_t i = 0) {
  return std::visit(ToJson{value, i}, value.value);
}

bool is_array(const GgufValue& value) {
  return value.type == GgufValueType::array;
}

struct ArraySize {
  template <class T>
  size_t operator()(const std::vector<T>& elements) const {
    return elements.size();
  }
  template <class T>
  size_t operator()(const T&) const {
    return 0;
  }
};

size_t array_size(const GgufValue& value) {
  return std::visit(ArraySize{}, value.value);
}

std::string type_text(const GgufValue& value) {
  if (!is_array(value)) return std::string(value_type_name(value.type));
  return fmt::format("{}[{}]", value_type_name(value.element_type), array_size(value));
}

// Of one of a layer's experts or of all: "blk.0.ffn_up_exps.weight", in older files "blk.0.ffn_up.7.weight".
bool is_of_experts(std::string_view name) {
  if (name.find("_exps.") != name.npos) return true;
  for (const std::string_view part : {".ffn_gate.", ".ffn_up.", ".ffn_down."}) {
    const size_t at = name.find(part);
    if (at != name.npos && at + part.size() < name.size() && '0' <= name[at + part.size()] &&
        name[at + part.size()] <= '9')
      return true;
  }
  return false;
}

// What a token meets of a mixture of experts: of each layer those that are used, and not the layers behind
// the last that guess at tokens further on. nullopt of other files.
std::optional<int64_t> active_parameters(const Gguf& gguf) {
  const auto* arch = gguf.find("general.architecture");
  const auto* prefix = arch ? std::get_if<std::string>(&arch->value) : nullptr;
  const auto count = [&](const char* key) -> int64_t {
    const GgufValue* value = prefix ? gguf.find(*prefix + key) : nullptr;
    const auto* n = value ? std::get_if<uint64_t>(&value->value) : nullptr;
    return n ? int64_t(std::min<uint64_t>(*n, INT32_MAX)) : 0;
  };
  const int64_t n_expert = count(".expert_count"), n_used = count(".expert_used_count");
  if (n_expert < 2 || n_used < 1 || n_used > n_expert) return std::nullopt;
  const int64_t n_layer = count(".block_count") - count(".nextn_predict_layers");
  int64_t all = 0, of_experts = 0;
  for (const GgufTensor& tensor : gguf.tensors()) {
    if (block_of(tensor.name).value_or(0) >= n_layer) continue;
    (is_of_experts(tensor.name) ? of_experts : all) += tensor.n_elements();
  }
  return all + of_experts / n_expert * n_used;
}

Description describe_gguf(const std::string& path) {
  Description d{.gguf = Gguf::open(path), .format = "gguf"};
  d.version = d.gguf->version();
  d.file_bytes = d.gguf->file_bytes();
  for (const auto& [key, value] : d.gguf->values()) d.metadata.push_back({.key = key, .of_file = &value});
  for (const GgufTensor& tensor : d.gguf->tensors()) {
    d.tensors.push_back({tensor.name,
                         std::string(traits(tensor.type).name),
                         {tensor.ne, tensor.ne + tensor.n_dims},
                         int64_t(tensor.data.size()),
                         tensor.n_elements()});
  }
  d.active_parameters = active_parameters(*d.gguf);
  return d;
}

Description describe_safetensors(const std::string& path) {
  const SafeTensors file = SafeTensors::open(path);
  Description d{.format = "safetensors", .file_bytes = file.file_bytes()};
  for (const auto& [key, value] : file.metadata())
    d.metadata.push_back({.key = key, .own = {.type = GgufValueType::string, .value = value}});
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

std::string dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string scalar_text(const ordered_json& value, size_t max_bytes) {
  return value.is_string() ? printable(value.get_ref<const std::string&>(), max_bytes) : dump(value);
}

std::string value_text(const GgufValue& value) {
  constexpr size_t shown_elements = 6;
  if (!is_array(value)) return scalar_text(to_json(value), 100);
  const size_t n = array_size(value);
  std::string text = "[";
  for (size_t i = 0; i < std::min(n, shown_elements); ++i) {
    const ordered_json element = to_json(value, i);
    const char* quote = element.is_string() ? "\"" : "";
    text += fmt::format("{}{}{}{}", i ? ", " : "", quote, scalar_text(element, 24), quote);
  }
  return text + (n > shown_elements ? ", ...]" : "]");
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

// JSON as it comes, in pieces of whole characters; a line each for a key or an element.
class JsonWriter {
 public:
  explicit JsonWriter(const std::function<void(std::string_view)>& write) : write_(write) {}

  void put(std::string_view text) {
    constexpr size_t kPiece = 1 << 16;
    text_ += text;
    if (text_.size() >= kPiece) flush();
  }
  void value(const ordered_json& x) { put(dump(x)); }
  void key(const std::string& name) {
    value(name);
    put(": ");
  }
  // brackets: "[]" or "{}"; item(i) puts one of n.
  template <class Item>
  void list(const char* brackets, size_t n, const Item& item) {
    put(std::string_view(brackets, 1));
    ++depth_;
    for (size_t i = 0; i < n; ++i) {
      put(i > 0 ? "," : "");
      new_line();
      item(i);
    }
    --depth_;
    if (n > 0) new_line();
    put(std::string_view(brackets + 1, 1));
  }
  void flush() {
    write_(text_);
    text_.clear();
  }

 private:
  void new_line() {
    text_ += '\n';
    text_.append(depth_, ' ');
  }

  const std::function<void(std::string_view)>& write_;
  std::string text_;
  size_t depth_ = 0;
};

}  // namespace

std::string describe_as_text(const std::string& path) {
  const Description d = describe(path);
  const std::string version = d.version.is_null() ? "" : fmt::format(" version {}", dump(d.version));
  std::string text = fmt::format("{}: {}{}, {}\n", path, d.format, version, size_text(d.file_bytes));

  std::vector<std::vector<std::string>> rows;
  for (const MetadataLine& line : d.metadata) {
    rows.push_back({printable(line.key), type_text(line.value()), value_text(line.value())});
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
  if (d.active_parameters)
    text += fmt::format("\nactive: {} parameters for each token", *d.active_parameters);
  return text + "\n";
}

void describe_as_json(const std::string& path, const ordered_json& last,
                      const std::function<void(std::string_view)>& write) {
  const Description d = describe(path);
  JsonWriter out(write);
  const auto put_value = [&](const GgufValue& value) {
    if (!is_array(value)) return out.value(to_json(value));
    out.list("[]", array_size(value), [&](size_t i) { out.value(to_json(value, i)); });
  };
  const auto put_fields = [&](const std::vector<std::pair<std::string, std::function<void()>>>& fields) {
    out.list("{}", fields.size(), [&](size_t i) {
      out.key(fields[i].first);
      fields[i].second();
    });
  };
  const auto put_tensor = [&](size_t i) {
    const TensorLine& t = d.tensors[i];
    put_fields({{"name", [&] { out.value(t.name); }},
                {"type", [&] { out.value(t.type); }},
                {"shape", [&] { out.list("[]", t.shape.size(), [&](size_t k) { out.value(t.shape[k]); }); }},
                {"bytes", [&] { out.value(t.bytes); }}});
  };
  const auto n = double(d.parameters());
  const ordered_json bits = n > 0 ? ordered_json(8.0 * double(d.tensor_bytes()) / n) : ordered_json();
  std::vector<std::pair<std::string, std::function<void()>>> fields = {
      {"format", [&] { out.value(d.format); }},
      {"version", [&] { out.value(d.version); }},
      {"file_bytes", [&] { out.value(d.file_bytes); }},
      {"metadata",
       [&] {
         out.list("{}", d.metadata.size(), [&](size_t i) {
           out.key(d.metadata[i].key);
           put_value(d.metadata[i].value());
         });
       }},
      {"tensors", [&] { out.list("[]", d.tensors.size(), put_tensor); }},
      {"parameters", [&] { out.value(d.parameters()); }},
      {"bits_per_weight", [&] { out.value(bits); }}};
  if (d.active_parameters) fields.emplace_back("active_parameters", [&] { out.value(*d.active_parameters); });
  for (const auto& [key, value] : last.items())
    fields.emplace_back(key, [&, json = value] { out.value(json); });
  put_fields(fields);
  out.put("\n");
  out.flush();
}

}  // namespace lora
