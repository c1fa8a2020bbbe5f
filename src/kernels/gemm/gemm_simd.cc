// Micro-kernels through Highway: AVX2, AVX-512 and NEON from one source.
//
// Register blocking: mr rows x 2 vectors of accumulators. AVX-512 has 32 registers: 12 x 2
// accumulators, 2 for r, and l is broadcast from memory inside the multiply-add; AVX2 has 16: 6 x 2; NEON has
// 32, and l goes through one: 8 x 2.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/gemm_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "base/half.h"
#include "kernels/gemm/micro_kernel.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DU = hn::ScalableTag<uint32_t>;
using V = hn::Vec<D>;

#if HWY_TARGET == HWY_AVX3
constexpr int kMr = 12;
#elif HWY_ARCH_ARM
constexpr int kMr = 8;
#else
constexpr int kMr = 6;
#endif
constexpr int kLanes = int(hn::MaxLanes(D()));
constexpr int kNr = 2 * kLanes;

HWY_ATTR void TileF32(float* c, int64_t ldc, const void* left, int64_t ldl, const void* right, int64_t k,
                      bool accumulate) {
  const D d;
  const float* HWY_RESTRICT l = static_cast<const float*>(left);
  const float* HWY_RESTRICT r = static_cast<const float*>(right);
  V sum0[kMr], sum1[kMr];
#pragma GCC unroll 16
  for (int i = 0; i < kMr; ++i) {
    sum0[i] = accumulate ? hn::LoadU(d, c + i * ldc) : hn::Zero(d);
    sum1[i] = accumulate ? hn::LoadU(d, c + i * ldc + kLanes) : hn::Zero(d);
  }
  // Where each row begins, and not how far from the first: clang would else compute the rows' places anew in
  // each step, for which AVX2's tile takes 4% longer.
  const float* rows[kMr];
#pragma GCC unroll 16
  for (int i = 0; i < kMr; ++i) {
    rows[i] = l + i * ldl;
    asm("" : "+r"(rows[i]));
  }
  for (int64_t p = 0; p < k; ++p) {
    const V r0 = hn::LoadU(d, r + p * kNr), r1 = hn::LoadU(d, r + p * kNr + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kMr; ++i) {
      const V a = hn::Set(d, rows[i][p]);
      sum0[i] = hn::MulAdd(a, r0, sum0[i]);
      sum1[i] = hn::MulAdd(a, r1, sum1[i]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kMr; ++i) {
    hn::StoreU(sum0[i], d, c + i * ldc);
    hn::StoreU(sum1[i], d, c + i * ldc + kLanes);
  }
}

// bf16 inputs without bf16 instructions: a pair (k, k+1) lies in one 32-bit lane; widening is a
// shift for the low half and a mask for the high one.
HWY_ATTR void TileBf16(float* c, int64_t ldc, const void* left, int64_t ldl, const void* right, int64_t k,
                       bool accumulate) {
  const D d;
  const DU du;
  const bf16* HWY_RESTRICT l = static_cast<const bf16*>(left);
  const uint32_t* HWY_RESTRICT r = static_cast<const uint32_t*>(right);
  const auto high = hn::Set(du, 0xffff0000u);
  V sum0[kMr], sum1[kMr];
#pragma GCC unroll 16
  for (int i = 0; i < kMr; ++i) {
    sum0[i] = accumulate ? hn::LoadU(d, c + i * ldc) : hn::Zero(d);
    sum1[i] = accumulate ? hn::LoadU(d, c + i * ldc + kLanes) : hn::Zero(d);
  }
  for (int64_t p = 0; p < k; p += 2) {
    const auto pair0 = hn::LoadU(du, r + p / 2 * kNr), pair1 = hn::LoadU(du, r + p / 2 * kNr + kLanes);
    const V even0 = hn::BitCast(d, hn::ShiftLeft<16>(pair0)), odd0 = hn::BitCast(d, hn::And(pair0, high));
    const V even1 = hn::BitCast(d, hn::ShiftLeft<16>(pair1)), odd1 = hn::BitCast(d, hn::And(pair1, high));
#pragma GCC unroll 16
    for (int i = 0; i < kMr; ++i) {
      const V a0 = hn::Set(d, to_f32(l[i * ldl + p])), a1 = hn::Set(d, to_f32(l[i * ldl + p + 1]));
      sum0[i] = hn::MulAdd(a1, odd0, hn::MulAdd(a0, even0, sum0[i]));
      sum1[i] = hn::MulAdd(a1, odd1, hn::MulAdd(a0, even1, sum1[i]));
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kMr; ++i) {
    hn::StoreU(sum0[i], d, c + i * ldc);
    hn::StoreU(sum1[i], d, c + i * ldc + kLanes);
  }
}

MicroKernel Get(GemmInput input) {
  if (input == GemmInput::f32) return {kMr, kNr, 1, 1, 256, TileF32, nullptr, nullptr};
  return {kMr, kNr, 2, 2, 256, TileBf16, nullptr, nullptr};
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {

HWY_EXPORT(Get);
MicroKernel simd_micro_kernel(GemmInput input) {
  return HWY_DYNAMIC_DISPATCH(Get)(input);
}

}  // namespace lora
#endif
