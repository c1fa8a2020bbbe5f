// Any bytes as a .bin file of PyTorch, and as the pickle of one: read or refused with lora::Error, nothing
// else. What is read has as many values as its shape says.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "gguf/pickle.h"
#include "gguf/pytorch.h"

namespace {

void use(const lora::PytorchFile& file) {
  std::vector<std::byte> bytes;
  for (const lora::PytorchTensor& tensor : file.tensors()) {
    const lora::SafeTensor read = file.read(tensor, bytes);
    int64_t n = tensor.element_bytes;
    for (const int64_t size : tensor.shape) n *= size;
    if (int64_t(read.data.size()) != n) __builtin_trap();
  }
}

void check(const lora::Pickle& pickle) {
  for (const lora::PickleNode& node : pickle.nodes) {
    for (const uint32_t child : node.children) {
      if (child >= pickle.nodes.size()) __builtin_trap();
    }
    if (node.kind == lora::PickleNode::Kind::dict && node.children.size() % 2 != 0) __builtin_trap();
  }
  if (pickle.root >= pickle.nodes.size()) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    use(lora::PytorchFile::parse(bytes, "fuzz.bin"));
  } catch (const lora::Error&) {
  }
  try {
    constexpr std::string_view allowed[] = {"torch FloatStorage", "torch._utils _rebuild_tensor_v2"};
    check(lora::parse_pickle(bytes, allowed, "fuzz.pkl"));
  } catch (const lora::Error&) {
  }
  return 0;
}
