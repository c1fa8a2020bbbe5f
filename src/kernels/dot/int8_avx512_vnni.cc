// Integer products on AVX512-VNNI (Cascade Lake, Zen 4).
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

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni")
namespace lora {
namespace {

using V = __m256i;
using I = __m256i;

constexpr int kMostMoved = 128;

inline I multiply_sum(V a, V x) {
  return _mm256_dpbusd_epi32(_mm256_setzero_si256(), a, x);
}

#include "kernels/dot/int8_x86-inl.h"
// After the vectors it computes with.
#include "kernels/dot/int8_types-inl.h"
// After the types.
#include "kernels/dot/int8_dot-inl.h"
#include "kernels/gemm_int8/int8_codes-inl.h"

}  // namespace

Int8Dot avx512_vnni_int8_dot(Type type) {
  return find_int8_dot(type);
}

Int8Codes avx512_vnni_int8_codes(Type type) {
  return find_int8_codes(type);
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

namespace lora {
Int8Dot avx512_vnni_int8_dot(Type) {
  return nullptr;
}
Int8Codes avx512_vnni_int8_codes(Type) {
  return {};
}
}  // namespace lora

#endif
