// Integer products on AVX-VNNI (Alder Lake, Zen 5): VPDPBUSD in its encoding for processors without AVX-512.
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

#include "kernels/vpdpbusd.h"
#include "quant/formats.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c," LORA_VPDPBUSD_TARGET)
namespace lora {
namespace {

using V = __m256i;
using I = __m256i;

constexpr int kMostMoved = 128;

inline I multiply_sum(V a, V x) {
  return LORA_VPDPBUSD(_mm256_setzero_si256(), a, x);
}

#include "kernels/dot/int8_x86-inl.h"
// After the vectors it computes with.
#include "kernels/dot/int8_types-inl.h"
// After the types.
#include "kernels/dot/int8_dot-inl.h"
#include "kernels/gemm_int8/int8_codes-inl.h"

}  // namespace

Int8Dot avx_vnni_int8_dot(Type type) {
  return find_int8_dot(type);
}

Int8Codes avx_vnni_int8_codes(Type type) {
  return find_int8_codes(type);
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

namespace lora {
Int8Dot avx_vnni_int8_dot(Type) {
  return nullptr;
}
Int8Codes avx_vnni_int8_codes(Type) {
  return {};
}
}  // namespace lora

#endif
