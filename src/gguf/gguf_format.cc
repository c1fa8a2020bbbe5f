#include "gguf/gguf_format.h"

#include <fmt/format.h>

namespace lora {

std::string_view value_type_name(GgufValueType type) {
  constexpr std::string_view names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
  return uint32_t(type) < std::size(names) ? names[uint32_t(type)] : "?";
}

std::string shape_fault(const TypeTraits& type, std::span<const int64_t> ne) {
  if (ne.empty() || ne.size() > 4) return fmt::format("has {} dimensions, expected 1 to 4", ne.size());
  std::optional<int64_t> elements = 1;
  for (size_t i = 0; i < ne.size(); ++i) {
    if (ne[i] <= 0) return fmt::format("dimension {} is {}, expected a positive number", i, ne[i]);
    elements = checked_product(*elements, ne[i]);
    if (!elements) return "has more elements than 64 bits can count";
  }
  if (ne[0] % type.block_size != 0) {
    return fmt::format("rows of {} values cannot be {}, whose blocks hold {}", ne[0], type.name,
                       type.block_size);
  }
  if (!checked_product(*elements / type.block_size, type.block_bytes)) {
    return "has more bytes than 64 bits can count";
  }
  return {};
}

int64_t tensor_bytes(const TypeTraits& type, std::span<const int64_t> ne) {
  int64_t elements = 1;
  for (int64_t n : ne) elements *= n;
  return elements / type.block_size * type.block_bytes;
}

}  // namespace lora
