// Integer products on AVX2 (Haswell, Zen 1): pairs of products in 16 bits, which 128 * 127 * 2 still fits.
#include "kernels/dot/int8.h"
#include "kernels/gemm_int8/int8_codes.h"

#if defined(__x86_64__)
#include <hwy/base.h>
#include <immintrin.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "quant/formats.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c")
namespace lora {
namespace {

using V = __m256i;
using I = __m256i;

constexpr int kMostMoved = 64;  // pairs of 129 and 127 are what 16 bits hold

inline I multiply_sum(V a, V x) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(a, x), _mm256_set1_epi16(1));
}

#include "kernels/dot/int8_x86-inl.h"
// After the vectors it computes with.
#include "kernels/dot/int8_types-inl.h"
// After the types.
#include "kernels/dot/int8_dot-inl.h"
#include "kernels/gemm_int8/int8_codes-inl.h"

}  // namespace

Int8Dot avx2_int8_dot(Type type) {
  return find_int8_dot(type);
}

Int8Codes avx2_int8_codes(Type type) {
  return find_int8_codes(type);
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

namespace lora {
Int8Dot avx2_int8_dot(Type) {
  return nullptr;
}
Int8Codes avx2_int8_codes(Type) {
  return {};
}
}  // namespace lora

#endif
