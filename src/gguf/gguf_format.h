// Limits and small facts of the GGUF format that its reader and its writer share.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "gguf/gguf.h"

namespace lora {

inline constexpr std::string_view gguf_magic = "GGUF";
inline constexpr std::string_view gguf_alignment_key = "general.alignment";
inline constexpr uint64_t gguf_default_alignment = 32;
inline constexpr uint64_t gguf_max_name_bytes = 65535;
// More elements than any vocabulary has; keeps a corrupt file from asking for all memory.
inline constexpr uint64_t gguf_max_array_elements = uint64_t{1} << 27;

// The format asks for a multiple of 8; ggml, whose padding is computed with masks, for a power of two.
inline bool is_gguf_alignment(uint64_t alignment) {
  return alignment >= 8 && std::has_single_bit(alignment);
}

// The wide type of a stored number in GgufValue.
template <class Stored>
using Wide = std::conditional_t<std::is_floating_point_v<Stored>, double,
                                std::conditional_t<std::is_signed_v<Stored>, int64_t, uint64_t>>;

// Calls visit(Stored{}) with the C++ type of a number's value type; false for boolean, string, array
// and unknown ids, without calling it.
template <class Visit>
bool visit_number(GgufValueType type, Visit&& visit) {
  switch (type) {
    case GgufValueType::u8:
      return visit(uint8_t{}), true;
    case GgufValueType::i8:
      return visit(int8_t{}), true;
    case GgufValueType::u16:
      return visit(uint16_t{}), true;
    case GgufValueType::i16:
      return visit(int16_t{}), true;
    case GgufValueType::u32:
      return visit(uint32_t{}), true;
    case GgufValueType::i32:
      return visit(int32_t{}), true;
    case GgufValueType::u64:
      return visit(uint64_t{}), true;
    case GgufValueType::i64:
      return visit(int64_t{}), true;
    case GgufValueType::f32:
      return visit(float{}), true;
    case GgufValueType::f64:
      return visit(double{}), true;
    default:
      return false;
  }
}

// a * b of non-negative numbers, nullopt if it exceeds int64_t.
inline std::optional<int64_t> checked_product(int64_t a, int64_t b) {
  if (b != 0 && a > std::numeric_limits<int64_t>::max() / b) return std::nullopt;
  return a * b;
}

// Why a shape cannot be one of `type`, in words for an error; empty if it can.
std::string shape_fault(const TypeTraits& type, std::span<const int64_t> ne);

// Bytes of a tensor whose shape has no fault.
int64_t tensor_bytes(const TypeTraits& type, std::span<const int64_t> ne);

}  // namespace lora
