#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "gguf/safetensors.h"

namespace lora {

void write_safetensors(AtomicFile& file, std::span<const SafeTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t begin = 0;
  for (const SafeTensor& tensor : tensors) {
    if (header.contains(tensor.name)) fail("tensor '{}': given twice", printable(tensor.name));
    const uint64_t end = begin + tensor.data.size();
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t size = text.size();
  file.write(&size, sizeof size);
  file.write(text);
  for (const SafeTensor& tensor : tensors) file.write(tensor.data.data(), tensor.data.size());
}

}  // namespace lora
