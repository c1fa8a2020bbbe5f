#include "kernels/activation/softcap.h"

#include <algorithm>

#include "base/elementary.h"
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/softcap.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// The last numbers go through the same vector code in a padded copy, as in activation.cc.
void Cap(float* y, const float* x, float cap, int64_t n) {
  const D d;
  const V c = hn::Set(d, cap), inverse = hn::Set(d, 1 / cap);
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(c, Tanh(d, hn::Mul(hn::LoadU(d, x + i), inverse))), d, y + i);
  }
  if (i < n) {
    HWY_ALIGN float rest[hn::MaxLanes(d)] = {};
    std::copy(x + i, x + n, rest);
    Cap(rest, rest, cap, lanes);
    std::copy(rest, rest + (n - i), y + i);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(Cap);

constexpr int64_t kGrain = 8192;

}  // namespace

void softcap_forward(float* y, const float* x, float cap, int64_t n, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    if (!scalar) return HWY_DYNAMIC_DISPATCH(Cap)(y + begin, x + begin, cap, end - begin);
    for (int64_t i = begin; i < end; ++i) y[i] = cap * elementary::tanh(x[i] / cap);
  });
}

void softcap_backward(float* dx, const float* dy, const float* y, float cap, int64_t n, ThreadPool& pool) {
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float t = y[i] / cap;
      dx[i] = dy[i] * (1 - t * t);
    }
  });
}

}  // namespace lora
#endif  // HWY_ONCE
