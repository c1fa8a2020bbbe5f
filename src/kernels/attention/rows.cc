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

HWY_ATTR void Softmax(float* scores, float* max, float* sum, float* factors, const TileMask& mask,
                      float softcap) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const V hidden = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t r = 0; r < mask.n_rows; ++r) {
    float* row = scores + r * kTile;
    const int64_t first = mask.first_key(r), n = mask.end_key(r);
    if (first >= n) {  // the sums stay as they are, also -infinity and 0
      std::fill(row, row + kTile, 0.0f);
      factors[r] = 1;
      continue;
    }
    // From the vector that holds the first key; of that the window may hide a part.
    const int64_t begin = first / lanes * lanes;
    const auto of_first = hn::AndNot(hn::FirstN(d, size_t(first - begin)), hn::FirstN(d, size_t(n - begin)));
    std::fill(row, row + begin, 0.0f);
    if (softcap > 0) {
      const V cap = hn::Set(d, softcap), inverse = hn::Set(d, 1 / softcap);
      for (int64_t c = begin; c < n; c += lanes) {
        hn::StoreU(hn::Mul(cap, Tanh(d, hn::Mul(hn::LoadU(d, row + c), inverse))), d, row + c);
      }
    }
    V m = hn::Set(d, max[r]);
    int64_t c = begin;
    if (c < first) {
      m = hn::Max(m, hn::IfThenElse(of_first, hn::LoadU(d, row + c), hidden));
      c += lanes;
    }
    for (; c + lanes <= n; c += lanes) m = hn::Max(m, hn::LoadU(d, row + c));
    if (c < n) {
      const auto valid = hn::FirstN(d, size_t(n - c));
      m = hn::Max(m, hn::IfThenElse(valid, hn::LoadU(d, row + c), hidden));
    }
    m = hn::MaxOfLanes(d, m);
    V total = hn::Zero(d);
    c = begin;
    if (c < first) {
      const V p = hn::IfThenElseZero(of_first, Exp(d, hn::Sub(hn::LoadU(d, row + c), m)));
      hn::StoreU(p, d, row + c);
      total = hn::Add(total, p);
      c += lanes;
    }
    for (; c + lanes <= n; c += lanes) {
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
    const float factor = hn::GetLane(Exp(d, hn::Sub(hn::Set(d, max[r]), m)));
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

template <bool kCapped>
HWY_ATTR void GradientRows(float* scores, float* dp, const float* lse, const float* delta,
                           const TileMask& mask, float softcap) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const V one = hn::Set(d, 1.0f), cap = hn::Set(d, softcap), inverse = hn::Set(d, 1 / softcap);
  for (int64_t r = 0; r < kTile; ++r) {
    float *p_row = scores + r * kTile, *ds_row = dp + r * kTile;
    const bool seen = r < mask.n_rows && mask.first_key(r) < mask.end_key(r);
    const int64_t first = seen ? mask.first_key(r) : 0, n = seen ? mask.end_key(r) : 0;
    const V lse_r = hn::Set(d, n > 0 ? lse[r] : 0.0f), delta_r = hn::Set(d, n > 0 ? delta[r] : 0.0f);
    const auto gradient = [&](int64_t at, V& p, V& ds) HWY_ATTR {
      V score = hn::LoadU(d, p_row + at), slope = one;
      if constexpr (kCapped) {
        const V t = Tanh(d, hn::Mul(score, inverse));
        score = hn::Mul(cap, t);
        slope = hn::NegMulAdd(t, t, one);
      }
      p = Exp(d, hn::Sub(score, lse_r));
      ds = hn::Mul(p, hn::Sub(hn::LoadU(d, ds_row + at), delta_r));
      if constexpr (kCapped) ds = hn::Mul(ds, slope);
    };
    V p, ds;
    int64_t c = first / lanes * lanes;
    std::fill(p_row, p_row + c, 0.0f);
    std::fill(ds_row, ds_row + c, 0.0f);
    if (c < first) {
      const auto of_first = hn::AndNot(hn::FirstN(d, size_t(first - c)), hn::FirstN(d, size_t(n - c)));
      gradient(c, p, ds);
      hn::StoreU(hn::IfThenElseZero(of_first, p), d, p_row + c);
      hn::StoreU(hn::IfThenElseZero(of_first, ds), d, ds_row + c);
      c += lanes;
    }
    for (; c + lanes <= n; c += lanes) {
      gradient(c, p, ds);
      hn::StoreU(p, d, p_row + c);
      hn::StoreU(ds, d, ds_row + c);
    }
    if (c < n) {
      const auto valid = hn::FirstN(d, size_t(n - c));
      gradient(c, p, ds);
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

HWY_ATTR void Gradient(float* scores, float* dp, const float* lse, const float* delta, const TileMask& mask,
                       float softcap) {
  (softcap > 0 ? GradientRows<true> : GradientRows<false>)(scores, dp, lse, delta, mask, softcap);
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

void softmax_rows(float* scores, float* max, float* sum, float* factors, const TileMask& mask,
                  float softcap) {
  HWY_DYNAMIC_DISPATCH(Softmax)(scores, max, sum, factors, mask, softcap);
}

void rescale_rows(float* sums, const float* factors, int64_t n_rows, const TileShape& s) {
  HWY_DYNAMIC_DISPATCH(Rescale)(sums, factors, n_rows, s.dim_lanes / s.kernel.nr, s.kernel.nr);
}

void gradient_rows(float* scores, float* dp, const float* lse, const float* delta, const TileMask& mask,
                   float softcap) {
  HWY_DYNAMIC_DISPATCH(Gradient)(scores, dp, lse, delta, mask, softcap);
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
