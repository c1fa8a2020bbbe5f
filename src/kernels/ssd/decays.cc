#include "kernels/ssd/decays.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd/decays.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <algorithm>

#include "base/elementary.h"
#include "kernels/exp-inl.h"
#include "kernels/isa.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// max(x, 0) + ln(1 + e), e = exp(-|x|); ln(1 + e) = 2 atanh(z), z = e / (2 + e) <= 1/3.
HWY_INLINE V Softplus(D d, V x) {
  const V e = Exp(d, hn::Neg(hn::Abs(x))), z = hn::Div(e, hn::Add(e, hn::Set(d, 2.0f))), zz = hn::Mul(z, z);
  V p = hn::Set(d, 2.0f / 15);
  for (const float c : {2.0f / 13, 2.0f / 11, 2.0f / 9, 2.0f / 7, 2.0f / 5, 2.0f / 3})
    p = hn::MulAdd(p, zz, hn::Set(d, c));
  const V log = hn::MulAdd(hn::Mul(z, zz), p, hn::Add(z, z));
  return hn::Add(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x), log);
}

void Decays(SsdDecays& o, const float* raw, int64_t row, int64_t n, float a, float bias) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t t = 0; t < kSsdChunk; ++t) o.dt[t] = t < n ? raw[t * row] + bias : 0;
  for (int64_t t = 0; t < kSsdChunk; t += lanes) hn::StoreU(Softplus(d, hn::LoadU(d, o.dt + t)), d, o.dt + t);
  std::fill(o.dt + n, o.dt + kSsdChunk, 0.0f);
  double s = 0;
  for (int64_t t = 0; t < kSsdChunk; ++t) {
    s += double(o.dt[t]) * double(a);
    o.high[t] = float(s);
    o.low[t] = float(s - double(o.high[t]));
  }
  const V end_high = hn::Set(d, o.high[kSsdChunk - 1]), end_low = hn::Set(d, o.low[kSsdChunk - 1]);
  for (int64_t t = 0; t < kSsdChunk; t += lanes) {
    const V high = hn::LoadU(d, o.high + t), low = hn::LoadU(d, o.low + t);
    const V rest = hn::Add(hn::Sub(end_high, high), hn::Sub(end_low, low));
    hn::StoreU(Exp(d, high), d, o.from_begin + t);
    hn::StoreU(hn::Mul(Exp(d, rest), hn::LoadU(d, o.dt + t)), d, o.to_end + t);
  }
  o.whole = o.from_begin[kSsdChunk - 1];
}

void Weigh(float* tile, const float* pairs, const SsdDecays& o, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t t = 0; t < n; ++t, tile += kSsdChunk, pairs += kSsdChunk) {
    const V high = hn::Set(d, o.high[t]), low = hn::Set(d, o.low[t]);
    int64_t u = 0;
    for (; u <= t; u += lanes) {
      const V s = hn::Add(hn::Sub(high, hn::LoadU(d, o.high + u)), hn::Sub(low, hn::LoadU(d, o.low + u)));
      const V v = hn::Mul(hn::Mul(hn::LoadU(d, pairs + u), hn::LoadU(d, o.dt + u)), Exp(d, s));
      const auto seen = hn::FirstN(d, size_t(std::min(lanes, t + 1 - u)));
      hn::StoreU(hn::IfThenElseZero(seen, v), d, tile + u);
    }
    for (; u < kSsdChunk; u += lanes) hn::StoreU(hn::Zero(d), d, tile + u);
  }
  std::fill(tile, tile + (kSsdChunk - n) * kSsdChunk, 0.0f);
}

void WeighBackward(float* tile, float* sums, float* ddt, float* ds, const float* pairs, const float* products,
                   const SsdDecays& o, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t u = 0; u < n;
       ++u, tile += kSsdChunk, sums += kSsdChunk, pairs += kSsdChunk, products += kSsdChunk) {
    const V high = hn::Set(d, o.high[u]), low = hn::Set(d, o.low[u]), dt = hn::Set(d, o.dt[u]);
    V total = hn::Zero(d), later = total;
    int64_t t = u / lanes * lanes;
    std::fill(tile, tile + t, 0.0f);
    for (; t < n; t += lanes) {
      const auto begun = hn::Not(hn::FirstN(d, size_t(std::max<int64_t>(0, u - t))));
      const auto seen = hn::And(begun, hn::FirstN(d, size_t(std::min(lanes, n - t))));
      const auto is_later = hn::AndNot(hn::FirstN(d, size_t(std::max<int64_t>(0, u + 1 - t))), seen);
      const V s = hn::Add(hn::Sub(hn::LoadU(d, o.high + t), high), hn::Sub(hn::LoadU(d, o.low + t), low));
      const V e = hn::IfThenElseZero(seen, Exp(d, hn::IfThenElseZero(seen, s)));
      const V m = hn::IfThenElseZero(seen, hn::Mul(e, hn::LoadU(d, pairs + t)));
      const V dot = hn::IfThenElseZero(seen, hn::LoadU(d, products + t)), change = hn::Mul(dot, m);
      hn::StoreU(hn::Mul(m, dt), d, tile + t);
      hn::StoreU(hn::MulAdd(dot, hn::Mul(e, dt), hn::LoadU(d, sums + t)), d, sums + t);
      const V change_later = hn::IfThenElseZero(is_later, change);
      hn::StoreU(hn::MulAdd(change_later, dt, hn::LoadU(d, ds + t)), d, ds + t);
      total = hn::Add(total, change);
      later = hn::Add(later, change_later);
    }
    std::fill(tile + t, tile + kSsdChunk, 0.0f);
    ddt[u] = hn::GetLane(hn::SumOfLanes(d, total));
    ds[u] -= o.dt[u] * hn::GetLane(hn::SumOfLanes(d, later));
  }
  std::fill(tile, tile + (kSsdChunk - n) * kSsdChunk, 0.0f);
}

void Store(float* y, int64_t y_row, const float* sums, const float* more, int64_t sums_row,
           const float* factors, float d_head, const float* x, int64_t x_row, int64_t n, int64_t dim) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const V d_v = hn::Set(d, d_head);
  for (int64_t t = 0; t < n; ++t, y += y_row, sums += sums_row, more += sums_row, x += x_row) {
    const float factor = factors ? factors[t] : 0;
    const V f = hn::Set(d, factor);
    int64_t p = 0;
    for (; p + lanes <= dim; p += lanes) {
      V v = hn::MulAdd(d_v, hn::LoadU(d, x + p), hn::LoadU(d, sums + p));
      if (factors) v = hn::MulAdd(f, hn::LoadU(d, more + p), v);
      hn::StoreU(v, d, y + p);
    }
    for (; p < dim; ++p) y[p] = sums[p] + d_head * x[p] + (factors ? factor * more[p] : 0);
  }
}

float Dot(const float* a, const float* b, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  V s = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) s = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s);
  float sum = hn::GetLane(hn::SumOfLanes(d, s));
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void AddRows(float* sum, int64_t sum_row, float* dots, const float* from, int64_t from_row,
             const float* factors, const float* with, int64_t with_row, int64_t n, int64_t dim) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t t = 0; t < n; ++t, sum += sum_row, from += from_row, with += with_row) {
    const V f = hn::Set(d, factors[t]);
    int64_t i = 0;
    for (; i + lanes <= dim; i += lanes)
      hn::StoreU(hn::MulAdd(f, hn::LoadU(d, from + i), hn::LoadU(d, sum + i)), d, sum + i);
    for (; i < dim; ++i) sum[i] += factors[t] * from[i];
    if (dots) dots[t] = Dot(from, with, dim);
  }
}

void Scale(float* to, const float* from, float factor, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const V f = hn::Set(d, factor);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(f, hn::LoadU(d, from + i)), d, to + i);
  for (; i < n; ++i) to[i] = factor * from[i];
}

float OneSoftplus(float x) {
  const D d;
  return hn::GetLane(Softplus(d, hn::Set(d, x)));
}
float OneExp(float x) {
  const D d;
  return hn::GetLane(Exp(d, hn::Set(d, x)));
}

void Token(float* y, float* h, const float* x, const float* b, const float* c, float raw, float a, float bias,
           float d_head, int64_t n_state, int64_t dim) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const float dt = OneSoftplus(raw + bias), decay = OneExp(dt * a);
  const V decay_v = hn::Set(d, decay);
  int64_t p = 0;
  // Four vectors of a state's rows at a time, so that sums are not one chain.
  for (; p + 4 * lanes <= dim; p += 4 * lanes) {
    V sum[4], step[4];
    for (int i = 0; i < 4; ++i) {
      const V x_p = hn::LoadU(d, x + p + i * lanes);
      sum[i] = hn::Mul(hn::Set(d, d_head), x_p);
      step[i] = hn::Mul(hn::Set(d, dt), x_p);
    }
    for (int64_t k = 0; k < n_state; ++k) {
      const V b_k = hn::Set(d, b[k]), c_k = hn::Set(d, c[k]);
      for (int i = 0; i < 4; ++i) {
        float* at = h + k * dim + p + i * lanes;
        const V h_k = hn::MulAdd(b_k, step[i], hn::Mul(decay_v, hn::LoadU(d, at)));
        hn::StoreU(h_k, d, at);
        sum[i] = hn::MulAdd(c_k, h_k, sum[i]);
      }
    }
    for (int i = 0; i < 4; ++i) hn::StoreU(sum[i], d, y + p + i * lanes);
  }
  for (; p + lanes <= dim; p += lanes) {
    const V x_p = hn::LoadU(d, x + p), step = hn::Mul(hn::Set(d, dt), x_p);
    V sum = hn::Mul(hn::Set(d, d_head), x_p);
    for (int64_t k = 0; k < n_state; ++k) {
      const V h_k = hn::MulAdd(hn::Set(d, b[k]), step, hn::Mul(decay_v, hn::LoadU(d, h + k * dim + p)));
      hn::StoreU(h_k, d, h + k * dim + p);
      sum = hn::MulAdd(hn::Set(d, c[k]), h_k, sum);
    }
    hn::StoreU(sum, d, y + p);
  }
  for (; p < dim; ++p) {
    float sum = d_head * x[p];
    for (int64_t k = 0; k < n_state; ++k) {
      float& h_k = h[k * dim + p];
      h_k = decay * h_k + b[k] * (dt * x[p]);
      sum += c[k] * h_k;
    }
    y[p] = sum;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {

HWY_EXPORT(Decays);
HWY_EXPORT(Weigh);
HWY_EXPORT(WeighBackward);
HWY_EXPORT(Store);
HWY_EXPORT(AddRows);
HWY_EXPORT(Scale);
HWY_EXPORT(Dot);
HWY_EXPORT(Token);

void ssd_decays(SsdDecays& decays, const float* raw, int64_t row, int64_t n, float a, float bias) {
  HWY_DYNAMIC_DISPATCH(Decays)(decays, raw, row, n, a, bias);
}
void ssd_weigh(float* tile, const float* pairs, const SsdDecays& decays, int64_t n) {
  HWY_DYNAMIC_DISPATCH(Weigh)(tile, pairs, decays, n);
}
void ssd_weigh_backward(float* tile, float* sums, float* ddt, float* ds, const float* pairs,
                        const float* products, const SsdDecays& decays, int64_t n) {
  HWY_DYNAMIC_DISPATCH(WeighBackward)(tile, sums, ddt, ds, pairs, products, decays, n);
}
void ssd_store(float* y, int64_t y_row, const float* sums, const float* more, int64_t sums_row,
               const float* factors, float d, const float* x, int64_t x_row, int64_t n, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(Store)(y, y_row, sums, more, sums_row, factors, d, x, x_row, n, dim);
}
void ssd_add_rows(float* sum, int64_t sum_row, float* dots, const float* from, int64_t from_row,
                  const float* factors, const float* with, int64_t with_row, int64_t n, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(AddRows)(sum, sum_row, dots, from, from_row, factors, with, with_row, n, dim);
}
void ssd_scale(float* to, const float* from, float factor, int64_t n) {
  HWY_DYNAMIC_DISPATCH(Scale)(to, from, factor, n);
}
double ssd_dot(const float* a, const float* b, int64_t n) {
  return double(HWY_DYNAMIC_DISPATCH(Dot)(a, b, n));
}
void ssd_token(float* y, float* h, const float* x, const float* b, const float* c, float raw, float a,
               float bias, float d, int64_t n_state, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(Token)(y, h, x, b, c, raw, a, bias, d, n_state, dim);
}
float ssd_softplus_slope(float x) {
  return 1 / (1 + elementary::exp(-x));
}

}  // namespace lora
#endif
