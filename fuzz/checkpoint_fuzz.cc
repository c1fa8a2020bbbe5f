// Any bytes as a checkpoint: read or refused with lora::Error, nothing else. The checksum would stop nearly
// all of them, so what comes behind it is run without it, too. What is read has the sizes that its pairs say.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "train/checkpoint.h"

namespace {

void check(const lora::Checkpoint& c) {
  int64_t n = 0;
  for (const auto& pair : c.parameters.pairs) {
    if (pair.rank < 1 || pair.n_in < 1 || pair.n_out < 1) __builtin_trap();
    n += pair.a_size() + pair.b_size();
  }
  if (n != c.parameters.n_values() || n > c.parameters.values.size()) __builtin_trap();
  if (c.state.iteration < 0 || c.state.shuffle_begin > c.state.cursor) __builtin_trap();
  for (const auto& pair : c.lbfgs.pairs) {
    if (pair.s.size() != c.parameters.values.size() || pair.y.size() != pair.s.size()) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  try {
    const lora::Gguf gguf = lora::Gguf::parse(bytes, "fuzz.gguf");
    try {
      lora::verify_checkpoint(bytes, gguf);
    } catch (const lora::Error&) {
    }
    check(lora::parse_checkpoint(gguf));
  } catch (const lora::Error&) {
  }
  return 0;
}
