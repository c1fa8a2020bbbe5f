// Any bytes as a safetensors file: read or refused with lora::Error, nothing else.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "gguf/safetensors.h"

namespace {

void use(const lora::SafeTensors& file) {
  for (const lora::SafeTensor& tensor : file.tensors()) {
    if (file.find(tensor.name) != &tensor) __builtin_trap();
    try {
      if (int64_t(tensor.to_f32().size()) != tensor.n_elements()) __builtin_trap();
    } catch (const lora::Error&) {  // a dtype that holds no weights
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    use(lora::SafeTensors::parse(std::as_bytes(std::span(data, size)), "fuzz.safetensors"));
  } catch (const lora::Error&) {
  }
  return 0;
}
