// Integer products on ARM's dot-product instructions (SDOT: Cortex-A76, Apple M1, Graviton 2).
#include "kernels/dot/int8.h"
#include "kernels/gemm_int8/int8_codes.h"

#if defined(__aarch64__)
#include <hwy/base.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/dot/neon_dot.h"
#include "quant/formats.h"

HWY_PUSH_ATTRIBUTES(LORA_NEON_DOT)
namespace lora {
namespace {

constexpr int kMostMoved = 0;

inline int32x4_t sums_of_four(uint8x16_t a, uint8x16_t x) {
  return vdotq_s32(vdupq_n_s32(0), vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(x));
}

#include "kernels/dot/int8_neon-inl.h"
// After the vectors it computes with.
#include "kernels/dot/int8_types-inl.h"
// After the types.
#include "kernels/dot/int8_dot-inl.h"
#include "kernels/gemm_int8/int8_codes-inl.h"

}  // namespace

Int8Dot neon_int8_dot(Type type) {
  return find_int8_dot(type);
}

Int8Codes neon_int8_codes(Type type) {
  return find_int8_codes(type);
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

namespace lora {
Int8Dot neon_int8_dot(Type) {
  return nullptr;
}
Int8Codes neon_int8_codes(Type) {
  return {};
}
}  // namespace lora

#endif
