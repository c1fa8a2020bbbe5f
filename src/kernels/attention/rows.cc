#include "kernels/attention/rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/rows.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/exp-inl.h"
#include "kernels/gemm/pack.h"
#include "kernels/isa.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

int64_t Keys(const TileMask& mask, int64_t r) {
  return std::clamp<int64_t>(mask.visible + r, 0, kTile);
}

HWY_ATTR void Softmax(float* scores, float* max, float* sum, float* factors, const TileMask& mask) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const V hidden = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t r = 0; r < mask.n_rows; ++r) {
    float* row = scores + r * kTile;
    const int64_t n = Keys(mask, r);
    V m = hn::Set(d, max[r]);
    int64_t c = 0;
    for (; c + lanes <= n; c += lanes) m = hn::Max(m, hn::LoadU(d, row + c));
    if (c < n) {
      const auto valid = hn::FirstN(d, size_t(n - c));
      m = hn::Max(m, hn::IfThenElse(valid, hn::LoadU(d, row + c), hidden));
    }
    m = hn::MaxOfLanes(d, m);
    V total = hn::Zero(d);
    for (c = 0; c + lanes <= n; c += lanes) {
      const V p = Exp(d, hn::Sub(hn::LoadU(d, row + c), m));
      hn::StoreU(p, d, row + c);
      total = hn::Add(total, p);
    }
    if (c < n) {
      const auto valid = hn::FirstN(d, size_t(n - c));
      const V p = hn::IfThenElseZero(valid, Exp(d, hn::Sub(hn::LoadU(d, row + c), m)));
      hn::StoreU(p, d, row + c);
      total = hn::Add(total, p);
      c += lanes;
    }
    for (; c < kTile; c += lanes) hn::StoreU(hn::Zero(d), d, row + c);
    // A row that has seen no key yet stays as it began: its maximum is -infinity.
    const V before = hn::Set(d, max[r]);
    const float factor = n == 0 ? 1.0f : hn::GetLane(Exp(d, hn::Sub(before, m)));
    max[r] = hn::GetLane(m);
    factors[r] = factor;
    sum[r] = sum[r] * factor + hn::GetLane(hn::SumOfLanes(d, total));
  }
}

HWY_ATTR void Rescale(float* sums, const float* factors, int64_t n_rows, int64_t n_panels, int64_t nr) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  for (int64_t r = 0; r < n_rows; ++r) {
    if (factors[r] == 1.0f) continue;
    const V f = hn::Set(d, factors[r]);
    for (int64_t p = 0; p < n_panels; ++p) {
      float* row = sums + (p * kTile + r) * nr;
      for (int64_t c = 0; c < nr; c += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, row + c), f), d, row + c);
    }
  }
}

HWY_ATTR void Gradient(float* scores, float* dp, const float* lse, const float* delta, const TileMask& mask) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  for (int64_t r = 0; r < kTile; ++r) {
    float *p_row = scores + r * kTile, *ds_row = dp + r * kTile;
    const int64_t n = r < mask.n_rows ? Keys(mask, r) : 0;
    const V lse_r = hn::Set(d, n > 0 ? lse[r] : 0.0f), delta_r = hn::Set(d, n > 0 ? delta[r] : 0.0f);
    int64_t c = 0;
    for (; c + lanes <= n; c += lanes) {
      const V p = Exp(d, hn::Sub(hn::LoadU(d, p_row + c), lse_r));
      hn::StoreU(p, d, p_row + c);
      hn::StoreU(hn::Mul(p, hn::Sub(hn::LoadU(d, ds_row + c), delta_r)), d, ds_row + c);
    }
    if (c < n) {
      const auto valid = hn::FirstN(d, size_t(n - c));
      const V p = Exp(d, hn::Sub(hn::LoadU(d, p_row + c), lse_r));
      const V ds = hn::Mul(p, hn::Sub(hn::LoadU(d, ds_row + c), delta_r));
      hn::StoreU(hn::IfThenElseZero(valid, p), d, p_row + c);
      hn::StoreU(hn::IfThenElseZero(valid, ds), d, ds_row + c);
      c += lanes;
    }
    for (; c < kTile; c += lanes) {
      hn::StoreU(hn::Zero(d), d, p_row + c);
      hn::StoreU(hn::Zero(d), d, ds_row + c);
    }
  }
}

HWY_ATTR void Dots(float* dots, const float* a, const float* b, int64_t row, int64_t n, int64_t dim) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  for (int64_t r = 0; r < n; ++r, a += row, b += row) {
    V s = hn::Zero(d);
    int64_t c = 0;
    for (; c + lanes <= dim; c += lanes) s = hn::MulAdd(hn::LoadU(d, a + c), hn::LoadU(d, b + c), s);
    float sum = hn::GetLane(hn::SumOfLanes(d, s));
    for (; c < dim; ++c) sum += a[c] * b[c];
    dots[r] = sum;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {

HWY_EXPORT(Softmax);
HWY_EXPORT(Rescale);
HWY_EXPORT(Gradient);
HWY_EXPORT(Dots);

void softmax_rows(float* scores, float* max, float* sum, float* factors, const TileMask& mask) {
  HWY_DYNAMIC_DISPATCH(Softmax)(scores, max, sum, factors, mask);
}

void rescale_rows(float* sums, const float* factors, int64_t n_rows, const TileShape& s) {
  HWY_DYNAMIC_DISPATCH(Rescale)(sums, factors, n_rows, s.dim_lanes / s.kernel.nr, s.kernel.nr);
}

void gradient_rows(float* scores, float* dp, const float* lse, const float* delta, const TileMask& mask) {
  HWY_DYNAMIC_DISPATCH(Gradient)(scores, dp, lse, delta, mask);
}

void turn_tile(float* to, const float* from, int64_t n_rows) {
  transpose(reinterpret_cast<uint32_t*>(to), kTile, reinterpret_cast<const uint32_t*>(from), kTile, n_rows,
            kTile);
}

void dot_of_rows(float* dots, const float* a, const float* b, int64_t row, int64_t n, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(Dots)(dots, a, b, row, n, dim);
}

}  // namespace lora
#endif
