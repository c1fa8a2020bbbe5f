#include "kernels/activation/swiglu.h"

#include <algorithm>

#include "kernels/activation/swiglu_reference.h"
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/swiglu.cc"
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

// 1 / (1 + exp(-x)), from exp(-|x|), which never overflows.
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V e = Exp(d, hn::Neg(hn::Abs(x)));
  return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
}

// The last numbers go through the same vector code in a padded copy: an element's bits must not
// depend on where threads or callers cut the array.
void Forward(float* y, const float* gate, const float* up, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V g = hn::LoadU(d, gate + i);
    const V silu = hn::Mul(g, Sigmoid(d, g));
    hn::StoreU(hn::Mul(silu, hn::LoadU(d, up + i)), d, y + i);
  }
  if (i < n) {
    HWY_ALIGN float g[hn::MaxLanes(d)] = {}, u[hn::MaxLanes(d)] = {};
    std::copy(gate + i, gate + n, g);
    std::copy(up + i, up + n, u);
    Forward(u, g, u, lanes);
    std::copy(u, u + (n - i), y + i);
  }
}

void Backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const V one = hn::Set(d, 1.0f);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V g = hn::LoadU(d, gate + i), u = hn::LoadU(d, up + i), dy_i = hn::LoadU(d, dy + i);
    const V s = Sigmoid(d, g);
    const V slope = hn::Mul(s, hn::MulAdd(g, hn::Sub(one, s), one));
    hn::StoreU(hn::Mul(hn::Mul(dy_i, u), slope), d, dgate + i);
    hn::StoreU(hn::Mul(dy_i, hn::Mul(g, s)), d, dup + i);
  }
  if (i < n) {
    HWY_ALIGN float g[hn::MaxLanes(d)] = {}, u[hn::MaxLanes(d)] = {}, dy_i[hn::MaxLanes(d)] = {};
    std::copy(gate + i, gate + n, g);
    std::copy(up + i, up + n, u);
    std::copy(dy + i, dy + n, dy_i);
    Backward(g, u, dy_i, g, u, lanes);
    std::copy(g, g + (n - i), dgate + i);
    std::copy(u, u + (n - i), dup + i);
  }
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

constexpr int64_t kGrain = 8192;

}  // namespace

void swiglu_forward(float* y, const float* gate, const float* up, int64_t n, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    if (scalar) return swiglu_forward_reference(y + begin, gate + begin, up + begin, end - begin);
    HWY_DYNAMIC_DISPATCH(Forward)(y + begin, gate + begin, up + begin, end - begin);
  });
}

void swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up, int64_t n,
                     ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    const auto backward = scalar ? swiglu_backward_reference<float> : HWY_DYNAMIC_DISPATCH(Backward);
    backward(dgate + begin, dup + begin, dy + begin, gate + begin, up + begin, end - begin);
  });
}

}  // namespace lora
#endif  // HWY_ONCE
