#include "kernels/cross_entropy/cross_entropy.h"

#include "base/elementary.h"
#include "kernels/cross_entropy/cross_entropy_reference.h"
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy/cross_entropy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

float RowMax(const float* x, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  float max = x[0];
  int64_t i = 0;
  if (n >= lanes) {
    V m0 = hn::LoadU(d, x), m1 = m0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
      m0 = hn::Max(m0, hn::LoadU(d, x + i));
      m1 = hn::Max(m1, hn::LoadU(d, x + i + lanes));
    }
    max = hn::GetLane(hn::MaxOfLanes(d, hn::Max(m0, m1)));
  }
  for (; i < n; ++i) max = std::max(max, x[i]);
  return max;
}

// Sum of exp(x - max) over at most kCrossEntropyBlock numbers, in lanes; y, if any, receives the terms.
template <bool kStore>
float SumExp(float* y, const float* x, float max, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const V m = hn::Set(d, max);
  V s0 = hn::Zero(d), s1 = s0;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const V e0 = Exp(d, hn::Sub(hn::LoadU(d, x + i), m));
    const V e1 = Exp(d, hn::Sub(hn::LoadU(d, x + i + lanes), m));
    if (kStore) {
      hn::StoreU(e0, d, y + i);
      hn::StoreU(e1, d, y + i + lanes);
    }
    s0 = hn::Add(s0, e0);
    s1 = hn::Add(s1, e1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) {
    const float e = hn::GetLane(Exp(d, hn::Set(d, x[i] - max)));
    if (kStore) y[i] = e;
    sum += e;
  }
  return sum;
}

template <bool kStore>
double RowSumExp(float* y, const float* x, float max, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i += kCrossEntropyBlock) {
    sum += double(SumExp<kStore>(kStore ? y + i : nullptr, x + i, max, std::min(kCrossEntropyBlock, n - i)));
  }
  return sum;
}

double Forward(const float* logits, int32_t target, int64_t n_vocab) {
  if (target < 0) return 0;
  const float max = RowMax(logits, n_vocab);
  const double sum = RowSumExp<false>(nullptr, logits, max, n_vocab);
  return elementary::log(sum) + (double(max) - double(logits[target]));
}

double Backward(float* logits, int32_t target, float scale, int64_t n_vocab) {
  if (target < 0) {
    std::fill(logits, logits + n_vocab, 0.0f);
    return 0;
  }
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const float max = RowMax(logits, n_vocab), target_logit = logits[target];
  const double sum = RowSumExp<true>(logits, logits, max, n_vocab);
  const float factor = float(double(scale) / sum);
  int64_t i = 0;
  for (; i + lanes <= n_vocab; i += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, logits + i), hn::Set(d, factor)), d, logits + i);
  }
  for (; i < n_vocab; ++i) logits[i] *= factor;
  logits[target] -= scale;
  return elementary::log(sum) + (double(max) - double(target_logit));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(Forward);
HWY_EXPORT(Backward);

}  // namespace

void cross_entropy_forward(double* losses, const float* logits, const int32_t* targets, int64_t n,
                           int64_t n_vocab, ThreadPool& pool) {
  const auto forward =
      isa() == Isa::scalar ? cross_entropy_forward_reference<float> : HWY_DYNAMIC_DISPATCH(Forward);
  pool.run(n, [&](int64_t t, int) { losses[t] = forward(logits + t * n_vocab, targets[t], n_vocab); });
}

void cross_entropy_backward(float* logits, double* losses, const int32_t* targets, float scale, int64_t n,
                            int64_t n_vocab, ThreadPool& pool) {
  const auto backward =
      isa() == Isa::scalar ? cross_entropy_backward_reference<float> : HWY_DYNAMIC_DISPATCH(Backward);
  pool.run(n,
           [&](int64_t t, int) { losses[t] = backward(logits + t * n_vocab, targets[t], scale, n_vocab); });
}

}  // namespace lora
#endif  // HWY_ONCE
