#include "convert/encode.h"

#include <algorithm>
#include <bit>
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

constexpr float kMost = 3.4028235e38f;  // the largest f32

}  // namespace

void encode_values(Type type, std::byte* blocks, const float* values, int64_t n, const float* importance) {
  // Every type holds these, the sum of two of them included: scales and offsets of blocks are F16.
  constexpr float kSafe = 32768;
  const float most = largest(values, n);
  if (most > kMost) fail("a value is not finite: the file is damaged");
  find_encoder(type)(blocks, values, n, importance);
  if (most <= kSafe || type == Type::F32) return;
  std::vector<float> decoded(static_cast<size_t>(n));
  traits(type).decode(decoded.data(), blocks, n);
  if (largest(decoded.data(), n) > kMost) {
    fail("a value of {:g} is beyond what {} holds; take {}", most, traits(type).name,
         type == Type::BF16 ? "F32" : "BF16 or F32");
  }
}

}  // namespace lora
