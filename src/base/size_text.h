// Sizes in sentences.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

namespace lora {

// In the largest binary unit: "1023 B", "1.50 KiB", "20.0 GiB".
inline std::string format_size(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = double(bytes);
  const char* unit = "KMGTPE";
  for (value /= 1024; value >= 1024; value /= 1024) ++unit;
  return fmt::format("{:.{}f} {}iB", value, value < 10 ? 2 : value < 100 ? 1 : 0, *unit);
}

}  // namespace lora
