// PyTorch's .bin files as torch.save writes them since version 1.6: a zip archive with uncompressed entries
//
//   NAME/data.pkl     a pickle: {"tensor's name": tensor, ...}; a tensor names its storage and says how it
//   lies there NAME/data/KEY     the bytes of one storage, little-endian, shared by the tensors that are
//   views of it
//
// Nothing in the file is executed (gguf/pickle.h). Compressed entries are refused, and so are entries that
// together are larger than the file: nothing read can be larger than the file is.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "gguf/safetensors.h"

namespace lora {

struct PytorchTensor {
  std::string name, dtype;  // dtype as in safetensors: "F32", ...
  std::vector<int64_t> shape, stride;
  uint64_t entry = 0;  // of the archive
  int64_t offset = 0;  // of the first element, in elements of the storage
  int64_t n_elements = 0;
  int64_t element_bytes = 0;
};

class PytorchFile {
 public:
  static PytorchFile open(const std::string& path);  // Error naming path and what is wrong
  // Reads a file that lies in memory; `bytes` must outlive the result. `path` is for messages.
  static PytorchFile parse(std::span<const std::byte> bytes, const std::string& path);
  ~PytorchFile();
  PytorchFile(PytorchFile&&) noexcept;
  PytorchFile& operator=(PytorchFile&&) noexcept;

  const std::string& path() const { return path_; }
  const std::vector<PytorchTensor>& tensors() const { return tensors_; }  // in the order of the dictionary
  // The bytes of a tensor, row-major, without gaps; `into` holds them. Not thread-safe.
  SafeTensor read(const PytorchTensor& tensor, std::vector<std::byte>& into) const;

 private:
  PytorchFile();
  struct Archive;
  MappedFile file_;
  std::string path_;
  std::unique_ptr<Archive> archive_;
  std::vector<PytorchTensor> tensors_;
};

}  // namespace lora
