// The innermost loop of gemm.cc, one per kernel set and input type:
//
//   c[i][j] (+)= sum_k  l[i][k] * r[k][j]        i < mr, j < nr
//
//   l  mr rows of `ldl` elements (f32 or bf16), row-major
//   r  one panel: [k / pair][nr][pair] elements; pair = 1 for f32, 2 for bf16
//   c  mr rows of `ldc` floats
//
// k is a multiple of k_step; what lies beyond the matrix is packed as zeros.
#pragma once

#include <cstdint>

#include "kernels/gemm/gemm.h"

namespace lora {

inline int64_t round_up(int64_t n, int64_t step) {
  return (n + step - 1) / step * step;
}
inline int64_t ceil_div(int64_t n, int64_t d) {
  return (n + d - 1) / d;
}

struct MicroKernel {
  int mr, nr;
  int pair;    // consecutive k that lie together in r
  int k_step;  // k is padded to a multiple of this
  int kc;      // inner-dimension block: a multiple of 256 (no block of weights is split)
  void (*tile)(float* c, int64_t ldc, const void* l, int64_t ldl, const void* r, int64_t k, bool accumulate);
  void (*begin)();  // per task: set up the unit (may be null)
  void (*end)();
};

// A task's use of the unit.
struct UnitGuard {
  const MicroKernel& kernel;
  explicit UnitGuard(const MicroKernel& k) : kernel(k) {
    if (kernel.begin) kernel.begin();
  }
  ~UnitGuard() {
    if (kernel.end) kernel.end();
  }
  UnitGuard(const UnitGuard&) = delete;
  UnitGuard& operator=(const UnitGuard&) = delete;
};

// Bounds that gemm.cc's scratch is sized for.
inline constexpr int kMaxMr = 32, kMaxNr = 32, kMaxKc = 256;

MicroKernel scalar_micro_kernel(GemmInput input);
MicroKernel simd_micro_kernel(GemmInput input);
MicroKernel avx512_bf16_micro_kernel();  // bf16; x86-64 only
MicroKernel amx_micro_kernel();          // bf16; x86-64 only

// The one in use: isa() decides.
const MicroKernel& micro_kernel(GemmInput input);

}  // namespace lora
