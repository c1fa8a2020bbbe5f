// Any bytes as a GGUF file: read or refused with lora::Error, nothing else. What is read is used as the
// program would use it: every value is asked for by type, every tensor's data is summed and decoded.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "gguf/gguf.h"

namespace {

template <class Action>
void ignore_error(Action&& action) {
  try {
    action();
  } catch (const lora::Error&) {
  }
}

void use(const lora::Gguf& gguf) {
  for (const auto& [key, value] : gguf.values()) {
    const std::string& name = key;
    ignore_error([&] { gguf.get_int(name); });
    ignore_error([&] { gguf.get_float(name); });
    ignore_error([&] { gguf.get_bool(name); });
    ignore_error([&] { gguf.get_string(name); });
    ignore_error([&] { gguf.get_strings(name); });
    ignore_error([&] { gguf.get_ints(name); });
    ignore_error([&] { gguf.get_floats(name); });
  }
  unsigned sum = 0;
  for (const lora::GgufTensor& tensor : gguf.tensors()) {
    for (std::byte b : tensor.data) sum += unsigned(b);
    const lora::MatrixView matrix = tensor.matrix();
    std::vector<float> row(size_t(matrix.n_cols));
    ignore_error([&] { lora::decode_row(row.data(), matrix, matrix.n_rows - 1, 0, matrix.n_cols); });
    if (gguf.find_tensor(tensor.name) != &tensor || tensor.shape().empty()) __builtin_trap();
  }
  volatile unsigned keep = sum;  // so that the reads above happen
  (void)keep;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ignore_error([&] { use(lora::Gguf::parse(std::as_bytes(std::span(data, size)), "fuzz.gguf")); });
  return 0;
}
