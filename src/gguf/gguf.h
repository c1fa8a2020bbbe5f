// GGUF files, versions 2 and 3: reading (memory-mapped, validated, split files) and writing.
//
// Byte layout (all integers little-endian; specification: ggml docs/gguf.md):
//
//   u32 magic "GGUF"   u32 version   u64 n_tensors   u64 n_kv
//   n_kv times:        string key    u32 value type  value
//   n_tensors times:   string name   u32 n_dims      u64 ne[n_dims]   u32 type   u64 offset
//   zero padding to general.alignment (u32 key, default 32, a power of two from 8)
//   tensor data; each tensor starts at data section + offset, a multiple of the alignment, and they lie one
//   behind the other with zeros up to the next such offset between them
//
//   string: u64 length, bytes (no terminator)     array: u32 element type, u64 count, elements
//   ne[0] is the length of a row (fastest dimension); a matrix (n_out, n_in) has ne = {n_in, n_out}.
//
// Every count, length, type, offset, alignment and shape is checked against the file's size and
// for overflow before it is used; errors name the file and the key or tensor. A split model is
// several such files, each with the keys split.no (from 0), split.count and split.tensors.count
// (of all parts together).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file.h"
#include "quant/types.h"

namespace lora {

enum class GgufValueType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

// "u32", "string", ...; "?" for an id that is none of them.
std::string_view value_type_name(GgufValueType type);

// One metadata value. Numbers are widened (unsigned -> u64, signed -> i64, f32/f64 -> double);
// `type` keeps the stored width so that a value is written back as it was read. Arrays of arrays
// are refused.
struct GgufValue {
  GgufValueType type = GgufValueType::u32;
  GgufValueType element_type = GgufValueType::u32;  // of an array
  std::variant<uint64_t, int64_t, double, bool, std::string, std::vector<uint64_t>, std::vector<int64_t>,
               std::vector<double>, std::vector<std::string>>
      value;  // bool arrays: vector<uint64_t> of 0/1
};

struct GgufTensor {
  std::string name;
  Type type = Type::F32;
  int n_dims = 1;
  int64_t ne[4] = {1, 1, 1, 1};
  std::span<const std::byte> data;  // into the mapped file

  int64_t n_elements() const { return ne[0] * ne[1] * ne[2] * ne[3]; }
  MatrixView matrix() const { return {type, data.data(), ne[1] * ne[2] * ne[3], ne[0]}; }
  std::string shape() const;  // "256 x 768"
};

// 3 of "blk.3.attn_q.weight"; nothing of tensors that are in no block.
std::optional<int64_t> block_of(std::string_view tensor);

class Gguf {
 public:
  // Reads a file, or all files of a split model when `path` is one part named
  // NAME-00001-of-0000N.gguf (any part may be given; keys come from the first).
  // `vocab_only` files without tensors are fine. Throws Error naming path and what is wrong.
  static Gguf open(const std::string& path);
  // Reads one whole file that lies in memory; `bytes` must outlive the result. `path` is for messages.
  static Gguf parse(std::span<const std::byte> bytes, const std::string& path);

  // One without tensors, of these keys, as if they stood in a file of that name.
  static Gguf of_values(std::string path, std::vector<std::pair<std::string, GgufValue>> values);

  const std::string& path() const { return path_; }
  // Of its tensors' data, what will not be needed for long (MappedFile::give_back()).
  void give_back(std::span<const std::byte> data) const;
  uint32_t version() const { return version_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;
  const GgufTensor& tensor(std::string_view name) const;  // throws Error if absent
  uint64_t file_bytes() const { return file_bytes_; }     // of all parts together

  // Metadata in file order.
  const std::vector<std::pair<std::string, GgufValue>>& values() const { return values_; }
  const GgufValue* find(std::string_view key) const;
  // Typed access: nullopt if the key is absent; Error if it has another type or does not fit.
  // Integers of any width convert where the number fits; floats accept f32 and f64.
  std::optional<std::string> get_string(std::string_view key) const;
  std::optional<int64_t> get_int(std::string_view key) const;
  std::optional<double> get_float(std::string_view key) const;
  std::optional<bool> get_bool(std::string_view key) const;
  const std::vector<std::string>* get_strings(std::string_view key) const;  // nullptr if absent
  std::optional<std::vector<int64_t>> get_ints(std::string_view key) const;
  std::optional<std::vector<double>> get_floats(std::string_view key) const;

 private:
  void index_tensors();
  [[noreturn]] void fail_type(std::string_view key, std::string_view expected) const;

  std::string path_;
  uint32_t version_ = 3;
  uint64_t file_bytes_ = 0;
  std::vector<MappedFile> files_;
  std::vector<std::pair<std::string, GgufValue>> values_;
  std::map<std::string, size_t, std::less<>> value_index_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> tensor_index_;
};

// Collects metadata and tensors, then writes a version 3 file through AtomicFile. The key
// general.alignment (u32) sets the alignment of the data. What the reader would refuse (a shape that
// the type's block does not divide, a duplicate name, a number too large for its type) throws Error.
class GgufWriter {
 public:
  void set(std::string key, GgufValue value);  // replaces an earlier value of the key, in place
  const std::vector<std::pair<std::string, GgufValue>>& values() const { return values_; }
  void set_string(std::string key, std::string value);
  void set_u32(std::string key, uint32_t value);
  void set_u64(std::string key, uint64_t value);
  void set_i64(std::string key, int64_t value);
  void set_f32(std::string key, float value);
  void set_f64(std::string key, double value);
  void set_bool(std::string key, bool value);
  void set_strings(std::string key, std::vector<std::string> value);
  void set_f64s(std::string key, std::vector<double> value);
  // The bytes are not copied and must live until write(). ne as in GgufTensor.
  void add_tensor(std::string name, Type type, std::vector<int64_t> ne, std::span<const std::byte> data);
  // The same for a tensor whose bytes are given to GgufOutput later.
  void declare_tensor(std::string name, Type type, std::vector<int64_t> ne);
  // With a name in `checksum`, a last tensor of that name is added: I64, one element, the checksum
  // (base/checksum.h) of all bytes of the file before its data.
  void write(const std::string& path, std::string_view checksum = {}) const;

 private:
  friend class GgufOutput;
  // What stands before the data, and each tensor's place in the file.
  std::string header(const std::string& path, std::vector<uint64_t>& positions) const;

  std::vector<std::pair<std::string, GgufValue>> values_;
  std::map<std::string, size_t> value_index_;
  std::vector<GgufTensor> tensors_;
};

// A file whose tensors are written piece by piece, in any order and by many threads: nothing the size of a
// tensor need exist in memory. Like AtomicFile, it appears under its name with commit(), or not at all.
class GgufOutput {
 public:
  GgufOutput(const GgufWriter& writer, const std::string& path);
  // Bytes of tensor `tensor` (in the order of declaration) from `offset` on. Thread-safe.
  void write(size_t tensor, uint64_t offset, std::span<const std::byte> data);
  void commit() { file_.commit(); }

 private:
  AtomicFile file_;
  std::vector<uint64_t> positions_;  // of each tensor, and of the end
};

}  // namespace lora
