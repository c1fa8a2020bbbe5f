// Any bytes as an adapter, GGUF or ggla: read or refused with lora::Error, nothing else. What is read keeps
// the promises of LoraPair.
#include <cstddef>
#include <cstdint>
#include <span>

#include "adapter_check.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  try {
    check_adapter_is_sound(lora::parse_adapter_gguf(lora::Gguf::parse(bytes, "fuzz.gguf")));
  } catch (const lora::Error&) {
  }
  try {
    check_adapter_is_sound(lora::parse_adapter_ggla(bytes, "fuzz.bin"));
  } catch (const lora::Error&) {
  }
  return 0;
}
