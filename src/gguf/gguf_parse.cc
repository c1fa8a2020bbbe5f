// Bytes of one GGUF file to a Gguf. Nothing read from the file is used before it is checked.
#include <algorithm>

#include "base/byte_cursor.h"
#include "base/error.h"
#include "base/file_kind.h"
#include "base/printable.h"
#include "gguf/gguf.h"
#include "gguf/gguf_format.h"

namespace lora {
namespace {

std::string read_string(ByteCursor& in) {
  return std::string(in.text(in.number<uint64_t>()));
}

// A key or a tensor's name.
std::string read_name(ByteCursor& in) {
  const auto length = in.number<uint64_t>();
  if (length == 0) fail("{}: {} has an empty name", in.path, in.item);
  if (length > gguf_max_name_bytes && length <= in.left()) {
    fail("{}: {} has a name of {} bytes, expected at most {}", in.path, in.item, length, gguf_max_name_bytes);
  }
  return std::string(in.text(length));
}

bool read_boolean(ByteCursor& in) {
  const auto value = in.number<uint8_t>();
  if (value > 1) fail("{}: {} holds the boolean {}, expected 0 or 1", in.path, in.item, value);
  return value == 1;
}

uint32_t read_version(ByteCursor& in) {
  const std::string_view magic(reinterpret_cast<const char*>(in.bytes.data()),
                               std::min<size_t>(in.bytes.size(), 4));
  if (magic != gguf_magic) {
    refuse_known_kind(in.bytes, in.path, "a GGUF file");
    fail("{}: not a GGUF file (magic '{}', expected 'GGUF')", in.path, printable(magic));
  }
  in.take(4);
  const auto version = in.number<uint32_t>();
  if (version == 2 || version == 3) return version;
  if (version != 0 && (version & 0xffff) == 0) {
    fail("{}: big-endian GGUF, expected little-endian: convert the model again as little-endian", in.path);
  }
  fail("{}: GGUF version {}, expected 2 or 3{}", in.path, version,
       version == 1 ? ": convert the model again with today's tools" : "");
}

// A count of items that each take at least min_bytes of what is left.
uint64_t read_count(ByteCursor& in, std::string_view items, uint64_t min_bytes) {
  const auto count = in.number<uint64_t>();
  if (count > in.left() / min_bytes) {
    fail("{}: truncated: {} {} do not fit in a file of {} bytes", in.path, count, items, in.bytes.size());
  }
  return count;
}

void read_array(ByteCursor& in, GgufValue& value) {
  value.element_type = GgufValueType(in.number<uint32_t>());
  const GgufValueType type = value.element_type;
  uint64_t element_bytes = 0;
  if (type == GgufValueType::string) {
    element_bytes = sizeof(uint64_t);
  } else if (type == GgufValueType::boolean) {
    element_bytes = 1;
  } else if (!visit_number(type, [&](auto stored) { element_bytes = sizeof stored; })) {
    fail("{}: {} is an array of element type {}, expected a number, bool or string", in.path, in.item,
         uint32_t(type));
  }
  const uint64_t count = read_count(in, "array elements of " + in.item, element_bytes);
  if (count > gguf_max_array_elements) {
    fail("{}: {} has {} elements, expected at most {}", in.path, in.item, count, gguf_max_array_elements);
  }
  if (type == GgufValueType::string) {
    auto& strings = value.value.emplace<std::vector<std::string>>();
    strings.reserve(count);
    for (uint64_t i = 0; i < count; ++i) strings.push_back(read_string(in));
  } else if (type == GgufValueType::boolean) {
    auto& booleans = value.value.emplace<std::vector<uint64_t>>();
    booleans.reserve(count);
    for (uint64_t i = 0; i < count; ++i) booleans.push_back(read_boolean(in));
  } else {
    visit_number(type, [&](auto stored) {
      using Stored = decltype(stored);
      auto& numbers = value.value.emplace<std::vector<Wide<Stored>>>();
      numbers.reserve(count);
      for (uint64_t i = 0; i < count; ++i) numbers.push_back(in.number<Stored>());
    });
  }
}

GgufValue read_value(ByteCursor& in) {
  GgufValue value;
  value.type = GgufValueType(in.number<uint32_t>());
  if (value.type == GgufValueType::string) {
    value.value = read_string(in);
  } else if (value.type == GgufValueType::boolean) {
    value.value = read_boolean(in);
  } else if (value.type == GgufValueType::array) {
    read_array(in, value);
  } else if (!visit_number(value.type, [&](auto stored) {
               value.value = Wide<decltype(stored)>(in.number<decltype(stored)>());
             })) {
    fail("{}: {} has the unknown value type {}", in.path, in.item, uint32_t(value.type));
  }
  return value;
}

uint64_t read_alignment(const Gguf& gguf) {
  const GgufValue* value = gguf.find(gguf_alignment_key);
  if (!value) return gguf_default_alignment;
  if (value->type != GgufValueType::u32) {
    fail("{}: key '{}' is a {}, expected u32", gguf.path(), gguf_alignment_key, value_type_name(value->type));
  }
  const uint64_t alignment = std::get<uint64_t>(value->value);
  if (!is_gguf_alignment(alignment)) {
    fail("{}: key '{}' is {}, expected a power of two from 8", gguf.path(), gguf_alignment_key, alignment);
  }
  return alignment;
}

std::string type_names() {
  std::string names;
  for (const TypeTraits& type : all_types()) names.append(names.empty() ? "" : " ").append(type.name);
  return names;
}

// Name, shape and type; the data's place is checked later, when the header's end is known.
GgufTensor read_tensor_info(ByteCursor& in) {
  GgufTensor tensor;
  tensor.name = read_name(in);
  in.item = fmt::format("tensor '{}'", printable(tensor.name));
  const auto n_dims = in.number<uint32_t>();
  if (n_dims < 1 || n_dims > 4) fail("{}: {} has {} dimensions, expected 1 to 4", in.path, in.item, n_dims);
  tensor.n_dims = int(n_dims);
  for (int i = 0; i < tensor.n_dims; ++i) tensor.ne[i] = in.number<int64_t>();
  const auto id = in.number<uint32_t>();
  const TypeTraits* type = find_type(id);
  if (!type) fail("{}: {} has type id {}, expected one of {}", in.path, in.item, id, type_names());
  tensor.type = type->type;
  const std::string fault = shape_fault(*type, {tensor.ne, size_t(n_dims)});
  if (!fault.empty()) fail("{}: {}: {}", in.path, in.item, fault);
  return tensor;
}

constexpr size_t kMostFilling = 64 * 1024;

// Tensors lie one behind the other, but for what aligns the next, as llama.cpp wants them (in any order
// here), and fill the file, which it does not ask for. A type or shape that the table has wrong shows as a
// gap or an overlap; else other bytes than its own would be read as numbers, and a small file could stand for
// any amount of data.
void expect_gapless(const std::vector<GgufTensor>& tensors, std::span<const std::byte> data,
                    uint64_t alignment, const std::string& path) {
  std::vector<const GgufTensor*> by_place;
  for (const GgufTensor& tensor : tensors) by_place.push_back(&tensor);
  std::ranges::stable_sort(by_place, {}, [](const GgufTensor* t) { return t->data.data(); });
  const GgufTensor* before = nullptr;
  uint64_t end = 0, expected = 0;  // of what is before, and where the next may begin
  const auto fail_gap = [&](const std::string& what, uint64_t at) {
    if (!before) fail("{}: {} at byte {} of the data, expected 0", path, what, at);
    fail("{}: tensor '{}' ({}, {}) ends at byte {} of the data, but {} at byte {}, expected {}", path,
         printable(before->name), traits(before->type).name, before->shape(), end, what, at, expected);
  };
  for (const GgufTensor* tensor : by_place) {
    const auto at = uint64_t(tensor->data.data() - data.data());
    if (at < expected)
      fail("{}: tensors '{}' and '{}' overlap", path, printable(before->name), printable(tensor->name));
    if (at > expected) fail_gap(fmt::format("'{}' begins", printable(tensor->name)), at);
    before = tensor;
    end = at + tensor->data.size();
    expected = (end + alignment - 1) / alignment * alignment;
  }
  // Some programs fill a file's last page.
  const auto rest = data.subspan(std::min<size_t>(expected, data.size()));
  const bool is_filling =
      rest.size() < kMostFilling && std::ranges::all_of(rest, [](std::byte b) { return b == std::byte{}; });
  if (before && !is_filling) fail_gap("the file ends", data.size());
}

void place_tensor(GgufTensor& tensor, uint64_t offset, const ByteCursor& in, uint64_t data_start,
                  uint64_t alignment) {
  const uint64_t size = uint64_t(tensor_bytes(traits(tensor.type), {tensor.ne, size_t(tensor.n_dims)}));
  if (offset % alignment != 0) {
    fail("{}: tensor '{}' has offset {}, expected a multiple of {}", in.path, printable(tensor.name), offset,
         alignment);
  }
  const uint64_t available = in.bytes.size() - std::min<uint64_t>(data_start, in.bytes.size());
  if (offset > available || size > available - offset) {
    fail("{}: truncated: tensor '{}' takes {} bytes at offset {} of the data, of which the file has {}",
         in.path, printable(tensor.name), size, offset, available);
  }
  tensor.data = in.bytes.subspan(size_t(data_start + offset), size_t(size));
}

}  // namespace

Gguf Gguf::parse(std::span<const std::byte> bytes, const std::string& path) {
  Gguf gguf;
  gguf.path_ = path;
  gguf.file_bytes_ = bytes.size();
  ByteCursor in{bytes, path};
  gguf.version_ = read_version(in);
  // The least a tensor takes: a name of one byte, n_dims, one ne, type, offset; a key: its name, a type, a
  // byte.
  const uint64_t n_tensors = read_count(in, "tensors", 8 + 1 + 4 + 8 + 4 + 8);
  const uint64_t n_values = read_count(in, "keys", 8 + 1 + 4 + 1);

  for (uint64_t i = 0; i < n_values; ++i) {
    in.item = fmt::format("key {} of {}", i + 1, n_values);
    std::string key = read_name(in);
    in.item = fmt::format("key '{}'", printable(key));
    if (!gguf.value_index_.emplace(key, gguf.values_.size()).second)
      fail("{}: {} occurs twice", path, in.item);
    GgufValue value = read_value(in);
    gguf.values_.emplace_back(std::move(key), std::move(value));
  }
  const uint64_t alignment = read_alignment(gguf);

  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < n_tensors; ++i) {
    in.item = fmt::format("tensor {} of {}", i + 1, n_tensors);
    gguf.tensors_.push_back(read_tensor_info(in));
    offsets.push_back(in.number<uint64_t>());
  }
  const uint64_t data_start = (in.at + alignment - 1) / alignment * alignment;
  for (size_t i = 0; i < offsets.size(); ++i)
    place_tensor(gguf.tensors_[i], offsets[i], in, data_start, alignment);
  gguf.index_tensors();
  expect_gapless(gguf.tensors_, bytes.subspan(std::min<size_t>(data_start, bytes.size())), alignment, path);
  return gguf;
}

}  // namespace lora
