#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "base/checksum.h"
#include "base/error.h"
#include "base/printable.h"
#include "gguf/gguf.h"
#include "gguf/gguf_format.h"

namespace lora {
namespace {

template <class T>
void append(std::string& out, T number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void append_string(std::string& out, std::string_view text) {
  append(out, uint64_t{text.size()});
  out += text;
}

void append_name(std::string& out, const std::string& path, std::string_view name) {
  if (name.empty() || name.size() > gguf_max_name_bytes) {
    fail("{}: cannot write: the name '{}' has {} bytes, expected 1 to {}", path, printable(name), name.size(),
         gguf_max_name_bytes);
  }
  append_string(out, name);
}

// Throws unless a wide number fits the type that it is stored in.
template <class Stored>
void append_narrow(std::string& out, Wide<Stored> number) {
  if constexpr (std::is_integral_v<Stored>) {
    if (Wide<Stored>(Stored(number)) != number) fail("{} does not fit its type", number);
  } else if (std::isfinite(number) && std::abs(number) > double(std::numeric_limits<Stored>::max())) {
    fail("{} does not fit its type", number);
  }
  append(out, Stored(number));
}

// The alternative T of a value, whose `type` promised it.
template <class T>
const T& held(const GgufValue& value) {
  const T* held_value = std::get_if<T>(&value.value);
  if (!held_value) fail("holds another kind of value than its type {} says", value_type_name(value.type));
  return *held_value;
}

void append_array(std::string& out, const GgufValue& value) {
  append(out, uint32_t(value.element_type));
  const auto append_all = [&](const auto& elements, const auto& append_one) {
    if (elements.size() > gguf_max_array_elements) fail("has more than {} elements", gguf_max_array_elements);
    append(out, uint64_t{elements.size()});
    for (const auto& element : elements) append_one(element);
  };
  if (value.element_type == GgufValueType::string) {
    append_all(held<std::vector<std::string>>(value), [&](const std::string& s) { append_string(out, s); });
  } else if (value.element_type == GgufValueType::boolean) {
    append_all(held<std::vector<uint64_t>>(value), [&](uint64_t flag) {
      if (flag > 1) fail("holds the boolean {}, expected 0 or 1", flag);
      append(out, uint8_t(flag));
    });
  } else if (!visit_number(value.element_type, [&](auto stored) {
               using Stored = decltype(stored);
               append_all(held<std::vector<Wide<Stored>>>(value),
                          [&](Wide<Stored> number) { append_narrow<Stored>(out, number); });
             })) {
    fail("element type {} cannot be stored in an array", uint32_t(value.element_type));
  }
}

void append_value(std::string& out, const GgufValue& value) {
  append(out, uint32_t(value.type));
  if (value.type == GgufValueType::string) {
    append_string(out, held<std::string>(value));
  } else if (value.type == GgufValueType::boolean) {
    append(out, uint8_t(held<bool>(value)));
  } else if (value.type == GgufValueType::array) {
    append_array(out, value);
  } else if (!visit_number(value.type, [&](auto stored) {
               append_narrow<decltype(stored)>(out, held<Wide<decltype(stored)>>(value));
             })) {
    fail("unknown value type {}", uint32_t(value.type));
  }
}

uint64_t padding(uint64_t position, uint64_t alignment) {
  return (alignment - position % alignment) % alignment;
}

uint64_t alignment_of(const std::string& path, std::span<const std::pair<std::string, GgufValue>> values) {
  for (const auto& [key, value] : values) {
    if (key != gguf_alignment_key) continue;
    const auto* alignment = std::get_if<uint64_t>(&value.value);
    if (value.type != GgufValueType::u32 || !alignment || !is_gguf_alignment(*alignment)) {
      fail("{}: cannot write: key '{}' must be a u32, a power of two from 8", path, key);
    }
    return *alignment;
  }
  return gguf_default_alignment;
}

// The file and the checksum of what was written to it, if one is asked for.
struct Output {
  AtomicFile file;
  bool sums;
  Checksum sum = {};

  // In pieces, so that the file's buffer never holds a whole tensor.
  void write(std::span<const std::byte> data) {
    constexpr size_t piece = size_t{1} << 20;
    for (size_t at = 0; at < data.size(); at += piece) {
      const auto part = data.subspan(at, std::min(piece, data.size() - at));
      file.write(part.data(), part.size());
      if (sums) sum.add(part);
    }
  }

  void write_zeros(uint64_t n) {
    constexpr std::byte zeros[4096] = {};
    for (; n > 0; n -= std::min<uint64_t>(n, sizeof zeros))
      write(std::span(zeros).first(std::min<uint64_t>(n, sizeof zeros)));
  }
};

}  // namespace

void GgufWriter::set(std::string key, GgufValue value) {
  const auto [place, is_new] = value_index_.try_emplace(key, values_.size());
  if (is_new) {
    values_.emplace_back(std::move(key), std::move(value));
  } else {
    values_[place->second].second = std::move(value);
  }
}

void GgufWriter::set_string(std::string key, std::string value) {
  set(std::move(key), {GgufValueType::string, {}, std::move(value)});
}
void GgufWriter::set_u32(std::string key, uint32_t value) {
  set(std::move(key), {GgufValueType::u32, {}, uint64_t{value}});
}
void GgufWriter::set_u64(std::string key, uint64_t value) {
  set(std::move(key), {GgufValueType::u64, {}, value});
}
void GgufWriter::set_i64(std::string key, int64_t value) {
  set(std::move(key), {GgufValueType::i64, {}, value});
}
void GgufWriter::set_f32(std::string key, float value) {
  set(std::move(key), {GgufValueType::f32, {}, double{value}});
}
void GgufWriter::set_f64(std::string key, double value) {
  set(std::move(key), {GgufValueType::f64, {}, value});
}
void GgufWriter::set_bool(std::string key, bool value) {
  set(std::move(key), {GgufValueType::boolean, {}, value});
}
void GgufWriter::set_strings(std::string key, std::vector<std::string> value) {
  set(std::move(key), {GgufValueType::array, GgufValueType::string, std::move(value)});
}

void GgufWriter::set_f64s(std::string key, std::vector<double> value) {
  set(std::move(key), {GgufValueType::array, GgufValueType::f64, std::move(value)});
}

void GgufWriter::declare_tensor(std::string name, Type type, std::vector<int64_t> ne) {
  const std::string fault = shape_fault(traits(type), ne);
  if (!fault.empty()) fail("tensor '{}': {}", printable(name), fault);
  GgufTensor tensor{std::move(name), type, int(ne.size()), {1, 1, 1, 1}, {}};
  std::copy(ne.begin(), ne.end(), tensor.ne);
  tensors_.push_back(std::move(tensor));
}

void GgufWriter::add_tensor(std::string name, Type type, std::vector<int64_t> ne,
                            std::span<const std::byte> data) {
  declare_tensor(std::move(name), type, std::move(ne));
  GgufTensor& tensor = tensors_.back();
  tensor.data = data;
  const auto bytes = uint64_t(tensor_bytes(traits(type), {tensor.ne, size_t(tensor.n_dims)}));
  if (bytes == data.size()) return;
  const std::string fault =
      fmt::format("tensor '{}': {} bytes of data, expected {}", printable(tensor.name), data.size(), bytes);
  tensors_.pop_back();
  fail("{}", fault);
}

std::string GgufWriter::header(const std::string& path, std::vector<uint64_t>& positions) const {
  const uint64_t alignment = alignment_of(path, values_);
  std::string header(gguf_magic);
  append(header, uint32_t{3});
  append(header, uint64_t{tensors_.size()});
  append(header, uint64_t{values_.size()});
  for (const auto& [key, value] : values_) {
    append_name(header, path, key);
    try {
      append_value(header, value);
    } catch (const Error& e) {
      fail("{}: cannot write: key '{}': {}", path, printable(key), e.what());
    }
  }
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (const GgufTensor& tensor : tensors_) {
    if (!names.insert(tensor.name).second)
      fail("{}: cannot write: tensor '{}' occurs twice", path, printable(tensor.name));
    append_name(header, path, tensor.name);
    append(header, uint32_t(tensor.n_dims));
    for (int i = 0; i < tensor.n_dims; ++i) append(header, tensor.ne[i]);
    append(header, uint32_t(tensor.type));
    append(header, offset);
    positions.push_back(offset);
    const auto bytes = uint64_t(tensor_bytes(traits(tensor.type), {tensor.ne, size_t(tensor.n_dims)}));
    offset += bytes + padding(bytes, alignment);
  }
  positions.push_back(offset);
  header.append(padding(header.size(), alignment), '\0');
  for (uint64_t& position : positions) position += header.size();
  return header;
}

void GgufWriter::write(const std::string& path, std::string_view checksum) const {
  const bool sums = !checksum.empty();
  GgufWriter all = *this;
  if (sums) all.declare_tensor(std::string(checksum), Type::I64, {1});
  std::vector<uint64_t> positions;
  const std::string head = all.header(path, positions);
  Output out{AtomicFile(path), sums};
  out.write(std::as_bytes(std::span(head)));
  for (size_t i = 0; i < tensors_.size(); ++i) {
    out.write(tensors_[i].data);
    out.write_zeros(positions[i + 1] - out.file.position());
  }
  if (sums) {
    const uint64_t value = out.sum.value();
    out.write(std::as_bytes(std::span(&value, 1)));
    out.write_zeros(positions.back() - out.file.position());
  }
  out.file.commit();
}

GgufOutput::GgufOutput(const GgufWriter& writer, const std::string& path) : file_(path) {
  const std::string head = writer.header(path, positions_);
  file_.write(head.data(), head.size());
  // The last byte of the padding gives the file its length.
  if (positions_.back() > head.size()) file_.write_at(positions_.back() - 1, "", 1);
}

void GgufOutput::write(size_t tensor, uint64_t offset, std::span<const std::byte> data) {
  const uint64_t begin = positions_.at(tensor) + offset;
  if (begin + data.size() > positions_.at(tensor + 1)) fail("tensor {}: more bytes than declared", tensor);
  file_.write_at(begin, data.data(), data.size());
}

}  // namespace lora
