#include "kernels/activation/activation.h"

#include <algorithm>

#include "kernels/activation/activation_reference.h"
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/activation.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "kernels/activation/functions-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {

// The last numbers go through the same vector code in a padded copy: an element's bits must not
// depend on where threads or callers cut the array.
template <class A, bool kGated>
void ForwardOf(float* y, const float* gate, const float* up, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    V y_i = A::Value(d, hn::LoadU(d, gate + i));
    if constexpr (kGated) y_i = hn::Mul(y_i, UpOf<A>(d, hn::LoadU(d, up + i)));
    hn::StoreU(y_i, d, y + i);
  }
  if (i < n) {
    HWY_ALIGN float g[hn::MaxLanes(d)] = {}, u[hn::MaxLanes(d)] = {};
    std::copy(gate + i, gate + n, g);
    if constexpr (kGated) std::copy(up + i, up + n, u);
    ForwardOf<A, kGated>(u, g, u, lanes);
    std::copy(u, u + (n - i), y + i);
  }
}

template <class A, bool kGated>
void BackwardOf(float* dgate, float* dup, const float* dy, const float* gate, const float* up, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    V slope, dy_i = hn::LoadU(d, dy + i);
    const V value = A::ValueAndSlope(d, hn::LoadU(d, gate + i), slope);
    if constexpr (kGated) {
      const V u = hn::LoadU(d, up + i), dy_u = hn::Mul(dy_i, UpOf<A>(d, u));
      hn::StoreU(UpSlopeOf<A>(d, hn::Mul(dy_i, value), u), d, dup + i);
      dy_i = dy_u;
    }
    hn::StoreU(hn::Mul(dy_i, slope), d, dgate + i);
  }
  if (i < n) {
    HWY_ALIGN float g[hn::MaxLanes(d)] = {}, u[hn::MaxLanes(d)] = {}, dy_i[hn::MaxLanes(d)] = {};
    std::copy(gate + i, gate + n, g);
    if constexpr (kGated) std::copy(up + i, up + n, u);
    std::copy(dy + i, dy + n, dy_i);
    BackwardOf<A, kGated>(g, u, dy_i, g, u, lanes);
    std::copy(g, g + (n - i), dgate + i);
    if constexpr (kGated) std::copy(u, u + (n - i), dup + i);
  }
}

#define LORA_FOR_EACH_ACTIVATION(X) \
  X(silu, Silu)                     \
  X(gelu, Gelu) X(gelu_tanh, GeluTanh) X(relu, Relu) X(relu_squared, ReluSquared) X(silu_clamped, SiluClamped)

// Without `up`: not gated.
void Forward(float* y, const float* gate, const float* up, int64_t n, Activation activation) {
  switch (activation) {
#define LORA_CASE(name, A) \
  case Activation::name:   \
    return (up ? ForwardOf<A, true> : ForwardOf<A, false>)(y, gate, up, n);
    LORA_FOR_EACH_ACTIVATION(LORA_CASE)
#undef LORA_CASE
  }
}

void Backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up, int64_t n,
              Activation activation) {
  switch (activation) {
#define LORA_CASE(name, A) \
  case Activation::name:   \
    return (up ? BackwardOf<A, true> : BackwardOf<A, false>)(dgate, dup, dy, gate, up, n);
    LORA_FOR_EACH_ACTIVATION(LORA_CASE)
#undef LORA_CASE
  }
}
#undef LORA_FOR_EACH_ACTIVATION

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

void gated_forward(float* y, const float* gate, const float* up, int64_t n, Activation activation,
                   ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    const auto forward = scalar ? gated_forward_reference<float> : HWY_DYNAMIC_DISPATCH(Forward);
    forward(y + begin, gate + begin, up + begin, end - begin, activation);
  });
}

void gated_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up, int64_t n,
                    Activation activation, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    const auto backward = scalar ? gated_backward_reference<float> : HWY_DYNAMIC_DISPATCH(Backward);
    backward(dgate + begin, dup + begin, dy + begin, gate + begin, up + begin, end - begin, activation);
  });
}

void activation_forward(float* y, const float* x, int64_t n, Activation activation, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    const auto forward = scalar ? gated_forward_reference<float> : HWY_DYNAMIC_DISPATCH(Forward);
    forward(y + begin, x + begin, nullptr, end - begin, activation);
  });
}

void activation_backward(float* dx, const float* dy, const float* x, int64_t n, Activation activation,
                         ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    const auto backward = scalar ? gated_backward_reference<float> : HWY_DYNAMIC_DISPATCH(Backward);
    backward(dx + begin, nullptr, dy + begin, x + begin, nullptr, end - begin, activation);
  });
}

}  // namespace lora
#endif  // HWY_ONCE
