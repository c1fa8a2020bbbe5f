#include "gguf/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/printable.h"
#include "quant/types.h"

namespace lora {

int64_t dtype_bytes(std::string_view dtype) {
  struct Row {
    std::string_view name;
    int64_t bytes;
  };
  constexpr Row rows[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
                          {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},     {"U32", 4},
                          {"F32", 4},  {"I64", 8}, {"U64", 8}, {"F64", 8},     {"C64", 8}};
  for (const Row& row : rows) {
    if (row.name == dtype) return row.bytes;
  }
  return 0;
}

namespace {

using nlohmann::json;

// The format's own limit on the header.
constexpr uint64_t max_header_bytes = 100'000'000;

// The header as JSON. Its objects and arrays nest three deep at most ({name: {"shape": [...]}}), which
// is checked while parsing: neither depth nor a name given twice survives into the result.
json parse_header(std::string_view text, const std::string& path) {
  constexpr int kMostDimensions = 64;  // a list of more numbers would take many times its bytes of memory
  std::set<std::string> names;
  int n_in_list = 0;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    const bool opens =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth >= 3) fail("{}: the safetensors header nests deeper than the format allows", path);
    if (opens) n_in_list = 0;
    if (event == json::parse_event_t::value && depth >= 3 && ++n_in_list > kMostDimensions) {
      fail("{}: the safetensors header holds a list of more than {} numbers", path, kMostDimensions);
    }
    if (event == json::parse_event_t::key && depth == 1 && !names.insert(parsed.get<std::string>()).second) {
      fail("{}: tensor '{}' occurs twice", path, printable(parsed.get<std::string>()));
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), check);
  } catch (const json::parse_error& e) {
    fail("{}: the safetensors header is not valid JSON at its byte {}", path, e.byte);
  } catch (const json::exception& e) {  // a number that does not fit its type
    fail("{}: the safetensors header is not valid JSON: {}", path, printable(e.what()));
  }
}

// A non-negative integer of JSON.
std::optional<int64_t> as_size(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<uint64_t>();
  return number <= uint64_t(INT64_MAX) ? std::optional(int64_t(number)) : std::nullopt;
}

// A field that must be an array of sizes.
std::vector<int64_t> read_sizes(const json& entry, const char* field, const std::string& where) {
  const auto found = entry.find(field);
  if (found == entry.end() || !found->is_array()) fail("{}: '{}' is not an array", where, field);
  std::vector<int64_t> sizes;
  for (const json& element : *found) {
    const auto size = as_size(element);
    if (!size) fail("{}: '{}' holds something that is not a size", where, field);
    sizes.push_back(*size);
  }
  return sizes;
}

// Bytes of dtype x shape; nullopt beyond 63 bits.
std::optional<int64_t> size_of(int64_t element_bytes, const std::vector<int64_t>& shape) {
  int64_t bytes = element_bytes;
  // An empty dimension makes the product zero wherever it stands, before the others can overflow.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  for (int64_t n : shape) {
    if (n > INT64_MAX / bytes) return std::nullopt;
    bytes *= n;
  }
  return bytes;
}

SafeTensor read_tensor(const std::string& name, const json& entry, std::span<const std::byte> data,
                       const std::string& path) {
  const std::string where = fmt::format("{}: tensor '{}'", path, printable(name));
  if (!entry.is_object()) fail("{}: its entry is not an object", where);
  SafeTensor tensor;
  tensor.name = name;
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) fail("{}: 'dtype' is not a string", where);
  tensor.dtype = dtype->get<std::string>();
  const int64_t element_bytes = dtype_bytes(tensor.dtype);
  if (element_bytes == 0) fail("{}: dtype '{}' is not supported", where, printable(tensor.dtype));
  tensor.shape = read_sizes(entry, "shape", where);
  const std::vector<int64_t> offsets = read_sizes(entry, "data_offsets", where);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) fail("{}: 'data_offsets' is not [begin, end]", where);
  const auto bytes = size_of(element_bytes, tensor.shape);
  if (!bytes || *bytes != offsets[1] - offsets[0]) {
    fail("{}: its offsets span {} bytes, which is not what its shape takes in {}", where,
         offsets[1] - offsets[0], tensor.dtype);
  }
  if (uint64_t(offsets[1]) > data.size()) {
    fail("{}: truncated: tensor '{}' ends at byte {} of the data, of which the file has {}", path,
         printable(name), offsets[1], data.size());
  }
  tensor.data = data.subspan(size_t(offsets[0]), size_t(*bytes));
  return tensor;
}

void check_coverage(const std::vector<SafeTensor>& tensors, std::span<const std::byte> data,
                    const std::string& path) {
  const std::byte* covered = data.data();
  for (const SafeTensor& tensor : tensors) {
    if (tensor.data.data() != covered) {
      fail(
          "{}: tensor '{}' starts at byte {} of the data, expected {}: the format allows no holes and no "
          "overlap",
          path, printable(tensor.name), tensor.data.data() - data.data(), covered - data.data());
    }
    covered += tensor.data.size();
  }
  if (covered != data.data() + data.size()) {
    fail("{}: {} bytes of data belong to no tensor", path, data.data() + data.size() - covered);
  }
}

}  // namespace

int64_t SafeTensor::n_elements() const {
  return int64_t(data.size()) / dtype_bytes(dtype);
}

std::vector<float> SafeTensor::to_f32() const {
  std::vector<float> values(static_cast<size_t>(n_elements()));
  if (dtype == "F64") {
    for (size_t i = 0; i < values.size(); ++i) {
      double value;
      std::memcpy(&value, data.data() + i * sizeof value, sizeof value);
      values[i] = float(value);
    }
    return values;
  }
  if (dtype != "F32" && dtype != "F16" && dtype != "BF16") {
    fail("tensor '{}': dtype {} cannot be read as f32, expected F32, F16, BF16 or F64", printable(name),
         dtype);
  }
  find_type(dtype)->decode(values.data(), data.data(), int64_t(values.size()));
  return values;
}

SafeTensors SafeTensors::open(const std::string& path) {
  MappedFile file(path);
  SafeTensors tensors = parse(file.bytes(), path);
  tensors.file_ = std::move(file);
  return tensors;
}

SafeTensors SafeTensors::parse(std::span<const std::byte> bytes, const std::string& path) {
  uint64_t header_bytes = 0;
  if (!bytes.empty()) std::memcpy(&header_bytes, bytes.data(), std::min(bytes.size(), sizeof header_bytes));
  if (bytes.size() < sizeof header_bytes || header_bytes > max_header_bytes || header_bytes == 0) {
    refuse_known_kind(bytes, path, "a safetensors file");
  }
  if (bytes.size() < sizeof header_bytes) fail("{}: not a safetensors file ({} bytes)", path, bytes.size());
  const auto rest = bytes.subspan(sizeof header_bytes);
  if (header_bytes > max_header_bytes) {
    fail("{}: not a safetensors file (a header of {} bytes, expected at most {})", path, header_bytes,
         max_header_bytes);
  }
  if (header_bytes > rest.size()) {
    fail("{}: truncated: the header takes {} bytes, the file has {} in all", path, header_bytes,
         bytes.size());
  }
  const auto data = rest.subspan(size_t(header_bytes));
  const json header = parse_header({reinterpret_cast<const char*>(rest.data()), size_t(header_bytes)}, path);
  if (!header.is_object()) fail("{}: not a safetensors file (its header is not a JSON object)", path);

  SafeTensors result;
  result.path_ = path;
  result.file_bytes_ = bytes.size();
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      result.tensors_.push_back(read_tensor(name, entry, data, path));
      continue;
    }
    if (!entry.is_object()) fail("{}: '__metadata__' is not an object", path);
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail("{}: metadata '{}' is not a string", path, printable(key));
      result.metadata_.emplace(key, value.get<std::string>());
    }
  }
  // Empty tensors share their place with the next one and come before it.
  std::sort(result.tensors_.begin(), result.tensors_.end(), [](const SafeTensor& a, const SafeTensor& b) {
    return std::pair(a.data.data(), a.data.size()) < std::pair(b.data.data(), b.data.size());
  });
  check_coverage(result.tensors_, data, path);
  for (size_t i = 0; i < result.tensors_.size(); ++i) result.index_.emplace(result.tensors_[i].name, i);
  return result;
}

const SafeTensor* SafeTensors::find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

const SafeTensor& SafeTensors::tensor(const std::string& name) const {
  const SafeTensor* found = find(name);
  if (!found) fail("{}: tensor '{}' is missing", path(), printable(name));
  return *found;
}

}  // namespace lora
