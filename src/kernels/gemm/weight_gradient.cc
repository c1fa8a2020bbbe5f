// The gradient of an adapter's matrix: one side is narrow (the rank), lanes run over the wide one, which is
// read where it lies. Packing it for the micro-kernels took longer than the products.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/weight_gradient.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/micro_kernel.h"
#include "kernels/isa.h"

#ifndef LORA_KERNELS_GEMM_WEIGHT_GRADIENT_CC_
#define LORA_KERNELS_GEMM_WEIGHT_GRADIENT_CC_
namespace lora {
// A task: sums of 8 rows and 256 columns stay in the first-level cache.
inline constexpr int64_t kRanks = 8, kColumns = 256;
}  // namespace lora
#endif

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;

// sums[r][j] += narrow[t][r] wide[t][j] for kTokens tokens, in their order; each vector of `wide` is read
// once for all r.
template <int kTokens>
HWY_ATTR HWY_INLINE void AddTokens(float* HWY_RESTRICT sums, const float* HWY_RESTRICT narrow,
                                   int64_t ld_narrow, const float* HWY_RESTRICT wide, int64_t ld_wide,
                                   int64_t n_ranks, int64_t n_columns) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  int64_t j = 0;
  for (; j + lanes <= n_columns; j += lanes) {
    hn::Vec<D> w[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) w[t] = hn::LoadU(d, wide + t * ld_wide + j);
    for (int64_t r = 0; r < n_ranks; ++r) {
      auto sum = hn::LoadU(d, sums + r * kColumns + j);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) sum = hn::MulAdd(hn::Set(d, narrow[t * ld_narrow + r]), w[t], sum);
      hn::StoreU(sum, d, sums + r * kColumns + j);
    }
  }
  for (; j < n_columns; ++j) {
    for (int64_t r = 0; r < n_ranks; ++r) {
      for (int t = 0; t < kTokens; ++t)
        sums[r * kColumns + j] += narrow[t * ld_narrow + r] * wide[t * ld_wide + j];
    }
  }
}

HWY_ATTR void AddOuterProducts(float* sums, const float* narrow, int64_t ld_narrow, const float* wide,
                               int64_t ld_wide, int64_t n_tokens, int64_t n_ranks, int64_t n_columns) {
  constexpr int kTokens = 8;
  int64_t t = 0;
  for (; t + kTokens <= n_tokens; t += kTokens) {
    AddTokens<kTokens>(sums, narrow + t * ld_narrow, ld_narrow, wide + t * ld_wide, ld_wide, n_ranks,
                       n_columns);
  }
  for (; t < n_tokens; ++t) {
    AddTokens<1>(sums, narrow + t * ld_narrow, ld_narrow, wide + t * ld_wide, ld_wide, n_ranks, n_columns);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {

HWY_EXPORT(AddOuterProducts);

namespace {

void add_plainly(float* sums, const float* narrow, int64_t ld_narrow, const float* wide, int64_t ld_wide,
                 int64_t n_tokens, int64_t n_ranks, int64_t n_columns) {
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t r = 0; r < n_ranks; ++r) {
      for (int64_t j = 0; j < n_columns; ++j) {
        sums[r * kColumns + j] += narrow[t * ld_narrow + r] * wide[t * ld_wide + j];
      }
    }
  }
}

}  // namespace

void gemm_weight_gradient(float* dw, const float* dy, const float* x, int64_t n_tokens, int64_t n_out,
                          int64_t n_in, float scale, ThreadPool& pool) {
  const bool turned = n_out > n_in;
  const float *narrow = turned ? x : dy, *wide = turned ? dy : x;
  const int64_t m = std::min(n_out, n_in), n = std::max(n_out, n_in), n_strips = ceil_div(n, kColumns);
  pool.run(n_strips * ceil_div(m, kRanks), [&](int64_t task, int) {
    const int64_t j0 = task % n_strips * kColumns, columns = std::min(kColumns, n - j0);
    const int64_t r0 = task / n_strips * kRanks, ranks = std::min(kRanks, m - r0);
    alignas(64) float sums[kRanks * kColumns] = {};
    isa() == Isa::scalar ? add_plainly(sums, narrow + r0, m, wide + j0, n, n_tokens, ranks, columns)
                         : HWY_DYNAMIC_DISPATCH(AddOuterProducts)(sums, narrow + r0, m, wide + j0, n,
                                                                  n_tokens, ranks, columns);
    for (int64_t r = 0; r < ranks; ++r) {
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t at = turned ? (j0 + j) * n_in + r0 + r : (r0 + r) * n_in + j0 + j;
        dw[at] += scale * sums[r * kColumns + j];
      }
    }
  });
}

}  // namespace lora
#endif
