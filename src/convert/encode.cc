#include "convert/encode.h"

#include <cmath>

#include "base/error.h"
#include "kernels/encode/encode.h"

namespace lora {
namespace {

// Whether all values are at most `limit`; false for NaN.
bool within(const float* values, int64_t n, float limit) {
  bool good = true;
  for (int64_t i = 0; i < n; ++i) good &= std::fabs(values[i]) <= limit;
  return good;
}

}  // namespace

void encode_values(Type type, std::byte* blocks, const float* values, int64_t n) {
  constexpr float f16_limit = 65519.99f;  // rounds to 65504
  if (type != Type::F32 && type != Type::F16 && type != Type::BF16 && type != Type::Q8_0) {
    fail("tensor type {}: not one that is written", traits(type).name);
  }
  const float limit = type == Type::F16 ? f16_limit : f16_limit * 127;
  if ((type == Type::F16 || type == Type::Q8_0) && !within(values, n, limit)) {
    fail("a value is beyond what {} holds; take --outtype bf16", traits(type).name);
  }
  find_encoder(type)(blocks, values, n, nullptr);
}

}  // namespace lora
