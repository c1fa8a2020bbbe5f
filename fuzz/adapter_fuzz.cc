// Any bytes as an adapter, GGUF or ggla: read or refused with lora::Error, nothing else. What is read keeps
// the promises of LoraPair.
#include <cstddef>
#include <cstdint>
#include <span>

#include "adapter/adapter.h"
#include "base/error.h"

namespace {

void check(const lora::Adapter& adapter) {
  for (const lora::LoraPair& pair : adapter.pairs) {
    const bool sound = pair.rank > 0 && pair.n_in > 0 && pair.n_out > 0 &&
                       int64_t(pair.a.size()) == pair.rank * pair.n_in &&
                       int64_t(pair.b.size()) == pair.n_out * pair.rank && adapter.find(pair.base) == &pair;
    if (!sound) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  try {
    check(lora::parse_adapter_gguf(lora::Gguf::parse(bytes, "fuzz.gguf")));
  } catch (const lora::Error&) {
  }
  try {
    check(lora::parse_adapter_ggla(bytes, "fuzz.bin"));
  } catch (const lora::Error&) {
  }
  return 0;
}
