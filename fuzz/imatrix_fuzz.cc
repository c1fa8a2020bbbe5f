// Any bytes as an importance matrix, old or new: read or refused with lora::Error, nothing else. What is read
// gives weights that an encoder may take.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "convert/imatrix.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const lora::Imatrix imatrix = lora::parse_imatrix(std::as_bytes(std::span(data, size)), "fuzz.imatrix");
    for (const auto& [name, entry] : imatrix.entries) {
      if (name.empty() || entry.sums.empty() || entry.counts.empty()) __builtin_trap();
      if (entry.sums.size() % entry.counts.size() != 0) __builtin_trap();
      for (const float w : lora::column_weights(entry, int64_t(entry.sums.size() / entry.counts.size()))) {
        if (!(w > 0)) __builtin_trap();
      }
    }
  } catch (const lora::Error&) {
  }
  return 0;
}
