#include "convert/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "quant/q8.h"

namespace lora {
namespace {

template <class Half, class Round>
void encode_halves(std::byte* out, const float* values, int64_t n, Round round) {
  for (int64_t i = 0; i < n; ++i) {
    const Half half = round(values[i]);
    std::memcpy(out + i * 2, &half, 2);
  }
}

// The largest of a block becomes 127 or -127; halves round away from zero.
void encode_q8_0(std::byte* blocks, const float* values, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ8_0)) {
    BlockQ8_0 block;
    float largest = 0;
    for (int j = 0; j < 32; ++j) largest = std::max(largest, std::fabs(values[j]));
    const float d = largest / 127, inverse = d > 1e-30f ? 1 / d : 0;
    block.d = to_f16(d);
    for (int j = 0; j < 32; ++j) {
      const float q = values[j] * inverse;
      block.qs[j] = int8_t(q + (q < 0 ? -0.5f : 0.5f));
    }
    std::memcpy(blocks, &block, sizeof block);
  }
}

// Whether all values are at most `limit`; false for NaN.
bool within(const float* values, int64_t n, float limit) {
  bool good = true;
  for (int64_t i = 0; i < n; ++i) good &= std::fabs(values[i]) <= limit;
  return good;
}

}  // namespace

void encode_values(Type type, std::byte* blocks, const float* values, int64_t n) {
  constexpr float f16_limit = 65519.99f;  // rounds to 65504
  switch (type) {
    case Type::F32:
      std::memcpy(blocks, values, size_t(n) * sizeof(float));
      return;
    case Type::BF16:
      return encode_halves<bf16>(blocks, values, n, [](float v) { return to_bf16(v); });
    case Type::F16:
      if (!within(values, n, f16_limit)) fail("a value is beyond what F16 holds; take --outtype bf16");
      return encode_halves<f16>(blocks, values, n, [](float v) { return to_f16(v); });
    case Type::Q8_0:
      if (!within(values, n, f16_limit * 127)) fail("a value is beyond what Q8_0 holds; take --outtype bf16");
      return encode_q8_0(blocks, values, n);
    default:
      fail("tensor type {}: not one that is written", traits(type).name);
  }
}

}  // namespace lora
