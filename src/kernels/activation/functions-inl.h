// The activations of a vector of floats and their slopes. Gated, forward, with all arrays in the cache of one
// AMD Zen 5 with AVX-512: silu 49 GB/s, gelu_tanh 32, gelu 24, relu 83 (a copy: 120).
//
// Included once per Highway target, as its name says.
#if defined(LORA_KERNELS_ACTIVATION_FUNCTIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LORA_KERNELS_ACTIVATION_FUNCTIONS_INL_H_
#undef LORA_KERNELS_ACTIVATION_FUNCTIONS_INL_H_
#else
#define LORA_KERNELS_ACTIVATION_FUNCTIONS_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// x within [-most, most]; NaN stays NaN.
HWY_INLINE V Within(D d, V x, float most) {
  const V bound = hn::Set(d, most);
  return hn::IfThenElse(hn::Gt(hn::Abs(x), bound), hn::CopySignToAbs(bound, x), x);
}

// s = 1 / (1 + exp(-x)) from exp(-|x|), which never overflows, and its slope s (1 - s), which keeps its
// digits where s is nearly 1.
struct Logistic {
  Logistic(D d, V x) {
    const V one = hn::Set(d, 1.0f), e = Exp(d, hn::Neg(hn::Abs(x))), sum = hn::Add(one, e);
    s = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), sum);
    other = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), one, e), sum);
  }
  V s, other;
};

struct Silu {
  static HWY_INLINE V Value(D d, V x) { return hn::Mul(x, Logistic(d, x).s); }
  static HWY_INLINE V ValueAndSlope(D d, V x, V& slope) {
    const V one = hn::Set(d, 1.0f), s = Logistic(d, x).s;
    slope = hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
    return hn::Mul(x, s);
  }
};

// Phi(x) is Q(|x|) or 1 - Q(|x|), and Q(a) = (1 - erf(a / sqrt(2))) / 2 = exp(-a^2 / 2) R(a). R falls from
// 1/2 slowly: R(a) = t P(1 - 2t), t = 1 / (1 + 0.3 a), with a P interpolating at Chebyshev nodes on a < 14,
// 4e-9 off. Phi is right to 4 epsilon of itself down to where it leaves f32's range, at -13.
struct Gelu {
  static HWY_INLINE V Cdf(D d, V x, V& exp) {
    const V one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f), a = hn::Abs(Within(d, x, 14));
    // a^2 in two parts: rounded, it would put exp() off by a^2 / 2 epsilon.
    const V square = hn::Mul(a, a), rest = hn::MulSub(a, a, square);
    exp = Exp(d, hn::Neg(hn::Mul(square, half)));
    exp = hn::NegMulAdd(exp, hn::Mul(rest, half), exp);
    const V t = hn::Div(one, hn::MulAdd(a, hn::Set(d, 0.3f), one));
    const V u = hn::NegMulAdd(hn::Set(d, 2.0f), t, one);
    V p = hn::Set(d, 4.08483575e-05f);
    for (const float c : {7.78345857e-05f, -0.000280416949f, -0.000570513832f, 0.0024231635f, 0.00181621511f,
                          -0.0277602579f, 0.0865496993f, -0.164579496f, 0.221970618f}) {
      p = hn::MulAdd(p, u, hn::Set(d, c));
    }
    const V q = hn::Mul(exp, hn::Mul(p, t));
    return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), q, hn::Sub(one, q));
  }
  static HWY_INLINE V Value(D d, V x) {
    V exp;
    return hn::Mul(x, Cdf(d, x, exp));
  }
  static HWY_INLINE V ValueAndSlope(D d, V x, V& slope) {
    V exp;
    const V cdf = Cdf(d, x, exp);
    slope = hn::MulAdd(x, hn::Mul(exp, hn::Set(d, 0.398942280f)), cdf);  // 1 / sqrt(2 pi)
    return hn::Mul(x, cdf);
  }
};

// (1 + tanh(u)) / 2 is the logistic function of 2u, which keeps its digits where tanh is near -1.
struct GeluTanh {
  static constexpr float kSlope = 1.59576912f, kCubic = 0.044715f;  // 2 sqrt(2 / pi)
  static HWY_INLINE V Value(D d, V x) {
    const V near = Within(d, x, 14);  // beyond, s is 0 or 1
    const V inner = hn::MulAdd(hn::Mul(near, near), hn::Set(d, kSlope * kCubic), hn::Set(d, kSlope));
    return hn::Mul(x, Logistic(d, hn::Mul(near, inner)).s);
  }
  static HWY_INLINE V ValueAndSlope(D d, V x, V& slope) {
    const V near = Within(d, x, 14), square = hn::Mul(near, near);
    const V inner = hn::MulAdd(square, hn::Set(d, kSlope * kCubic), hn::Set(d, kSlope));
    const V outer = hn::MulAdd(square, hn::Set(d, 3 * kSlope * kCubic), hn::Set(d, kSlope));
    const Logistic at(d, hn::Mul(near, inner));
    slope = hn::MulAdd(hn::Mul(near, outer), hn::Mul(at.s, at.other), at.s);
    return hn::Mul(x, at.s);
  }
};

struct Relu {
  static HWY_INLINE V Value(D d, V x) { return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x); }
  static HWY_INLINE V ValueAndSlope(D d, V x, V& slope) {
    slope = hn::IfThenElse(hn::Le(x, hn::Zero(d)), hn::Zero(d), hn::Set(d, 1.0f));
    return Value(d, x);
  }
};

struct ReluSquared {
  static HWY_INLINE V Value(D d, V x) {
    const V r = Relu::Value(d, x);
    return hn::Mul(r, r);
  }
  static HWY_INLINE V ValueAndSlope(D d, V x, V& slope) {
    const V r = Relu::Value(d, x);
    slope = hn::Add(r, r);
    return hn::Mul(r, r);
  }
};

// Clamped from above; what it is multiplied with is clamped on both sides, and one more.
struct SiluClamped {
  static constexpr float kSlope = 1.702f, kMost = 7;
  // As std::min, which keeps NaN.
  static HWY_INLINE V Below(D d, V x) {
    const V most = hn::Set(d, kMost);
    return hn::IfThenElse(hn::Gt(x, most), most, x);
  }
  static HWY_INLINE V Value(D d, V x) {
    const V g = Below(d, x);
    return hn::Mul(g, Logistic(d, hn::Mul(g, hn::Set(d, kSlope))).s);
  }
  static HWY_INLINE V ValueAndSlope(D d, V x, V& slope) {
    const V g = Below(d, x), steep = hn::Mul(g, hn::Set(d, kSlope));
    const Logistic at(d, steep);
    slope = hn::Mul(at.s, hn::MulAdd(steep, at.other, hn::Set(d, 1.0f)));
    slope = hn::IfThenZeroElse(hn::Gt(x, hn::Set(d, kMost)), slope);
    return hn::Mul(g, at.s);
  }
  static HWY_INLINE V Up(D d, V u) { return hn::Add(Within(d, u, kMost), hn::Set(d, 1.0f)); }
  // dup, where u has any influence.
  static HWY_INLINE V UpSlope(D d, V dup, V u) {
    return hn::IfThenZeroElse(hn::Gt(hn::Abs(u), hn::Set(d, kMost)), dup);
  }
};

// What other activations do not change.
template <class A>
HWY_INLINE V UpOf(D d, V u) {
  if constexpr (requires { A::Up(d, u); }) {
    return A::Up(d, u);
  } else {
    return u;
  }
}
template <class A>
HWY_INLINE V UpSlopeOf(D d, V dup, V u) {
  if constexpr (requires { A::UpSlope(d, dup, u); }) {
    return A::UpSlope(d, dup, u);
  } else {
    return dup;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#endif
