// safetensors files: u64 header length, a JSON header {"name": {"dtype", "shape", "data_offsets"}, ...,
// "__metadata__": {...}}, then the data (format: huggingface/safetensors README). Little-endian, row-major,
// shape outermost first. data_offsets are [begin, end) from the start of the data; as the format asks,
// they match dtype x shape and cover the data without holes, overlap or bytes left over. Anything else,
// duplicate names included, is an Error that names the file and the tensor.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace lora {

struct SafeTensor {
  std::string name, dtype;  // dtype: "F32", "F16", "BF16", "I32", "U8", ...
  std::vector<int64_t> shape;
  std::span<const std::byte> data;

  int64_t n_elements() const;
  std::vector<float> to_f32() const;  // F32, F16, BF16, F64; Error for others
};

// Bytes per element of every dtype that takes whole bytes, 0 if unknown.
int64_t dtype_bytes(std::string_view dtype);

class SafeTensors {
 public:
  static SafeTensors open(const std::string& path);  // Error naming path and what is wrong
  // Reads a whole file that lies in memory; `bytes` must outlive the result. `path` is for messages.
  static SafeTensors parse(std::span<const std::byte> bytes, const std::string& path);
  const std::string& path() const { return path_; }
  uint64_t file_bytes() const { return file_bytes_; }
  const std::vector<SafeTensor>& tensors() const { return tensors_; }  // in the order of their data
  const SafeTensor* find(const std::string& name) const;
  const SafeTensor& tensor(const std::string& name) const;  // throws Error if absent
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  MappedFile file_;
  std::string path_;
  uint64_t file_bytes_ = 0;
  std::vector<SafeTensor> tensors_;
  std::map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// Writes a whole file, without committing it: tensors in the order given, the header padded so that the data
// is aligned to 8 bytes. Names must differ and data must have the bytes of dtype x shape.
void write_safetensors(AtomicFile& file, std::span<const SafeTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace lora
