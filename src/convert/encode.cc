#include "convert/encode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/encode/encode.h"

namespace lora {
namespace {

// The largest magnitude, infinite if a value is not finite. Magnitudes are in the order of their bits.
float largest(const float* values, int64_t n) {
  int32_t bits = 0;
  for (int64_t i = 0; i < n; ++i) bits = std::max(bits, std::bit_cast<int32_t>(values[i]) & 0x7fffffff);
  return std::bit_cast<float>(std::min(bits, 0x7f800000));
}

constexpr const char kNotFinite[] = "a value is not finite: the file is damaged";

// Whether all exponent bits of one of the numbers are set: infinite, or none.
template <class Bits>
bool has_exponent(std::span<const std::byte> bytes, Bits exponent) {
  bool found = false;
  for (size_t at = 0; at + sizeof(Bits) <= bytes.size(); at += sizeof(Bits)) {
    Bits number;
    std::memcpy(&number, bytes.data() + at, sizeof number);
    found |= (number & exponent) == exponent;
  }
  return found;
}

// Every type holds values up to this one.
constexpr float kSafe = 32768;

// Whether a block with large values is stored worse than the same block in small numbers: its scales are F16
// and end at 65504. n: the type's block size.
bool is_beyond(const TypeTraits& type, const std::byte* block, const float* values, int64_t n,
               const float* importance) {
  const auto at =
      std::max_element(values, values + n, [](float a, float b) { return std::fabs(a) < std::fabs(b); }) -
      values;
  const int exponent = std::ilogb(values[at]);
  std::vector<float> small(values, values + n), decoded(static_cast<size_t>(n));
  for (float& value : small) value = std::ldexp(value, -exponent);
  std::vector<std::byte> small_block(size_t(type.block_bytes));
  const auto error = [&](const std::byte* stored, int power) {
    type.decode(decoded.data(), stored, n);
    return std::fabs(std::ldexp(double(decoded[size_t(at)]), power) / double(values[at]) - 1);
  };
  type.encode(small_block.data(), small.data(), n, importance);
  const double best = error(small_block.data(), exponent);
  return !(error(block, 0) <= best + 1e-3);
}

}  // namespace

void encode_values(Type type, std::byte* blocks, const float* values, int64_t n, const float* importance) {
  const float most = largest(values, n);
  if (!std::isfinite(most)) fail(kNotFinite);
  find_encoder(type)(blocks, values, n, importance);
  if (most <= kSafe || type == Type::F32) return;
  const TypeTraits& t = traits(type);
  for (int64_t i = 0; i < n; i += t.block_size, blocks += t.block_bytes) {
    const float block_most = largest(values + i, t.block_size);
    if (block_most <= kSafe ||
        !is_beyond(t, blocks, values + i, t.block_size, importance ? importance + i : nullptr))
      continue;
    fail("a value of {:g} is beyond what {} holds; take {}", block_most, t.name,
         type == Type::BF16 ? "F32" : "BF16 or F32");
  }
}

void expect_finite(Type type, std::span<const std::byte> bytes) {
  const bool is_bad = type == Type::F32    ? has_exponent<uint32_t>(bytes, 0x7f800000)
                      : type == Type::F16  ? has_exponent<uint16_t>(bytes, 0x7c00)
                      : type == Type::BF16 ? has_exponent<uint16_t>(bytes, 0x7f80)
                                           : false;
  if (is_bad) fail(kNotFinite);
}

}  // namespace lora
