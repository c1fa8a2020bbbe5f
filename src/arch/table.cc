// All families: a row each.
#include <algorithm>

#include "arch/architecture.h"

namespace lora {

extern const Architecture kLlama;

std::span<const Architecture* const> architectures() {
  static const Architecture* const rows[] = {&kLlama};
  return rows;
}

const Architecture* find_architecture(std::string_view name) {
  const auto rows = architectures();
  const auto found = std::ranges::find(rows, name, &Architecture::name);
  return found == rows.end() ? nullptr : *found;
}

}  // namespace lora
