// exp() and tanh() of a vector of floats, for softmax, sigmoid and softcaps. exp: arguments up to 88,
// relative error below 1e-7 (the tests of cross_entropy/ sweep it). exp(-infinity) = 0, NaN stays NaN, and
// results below 1.3e-38 are 0. tanh: any argument, relative error below 5e-7 (the tests of attention/ sweep
// it), so near 0 too; NaN stays NaN.
//
// exp(x) = 2^q exp(r) with q = round(x / ln 2); on |r| <= ln(2) / 2 a polynomial interpolating at
// Chebyshev nodes, 1e-8 off. Shorter than Highway's own, which also reaches subnormal results.
//
// Included once per Highway target, as its name says.
#if defined(LORA_KERNELS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LORA_KERNELS_EXP_INL_H_
#undef LORA_KERNELS_EXP_INL_H_
#else
#define LORA_KERNELS_EXP_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {

// exp(x) - 1 = 2^q (1 + y) - 1 and y = exp(r) - 1 = r + r r p.
template <class D, class V>
struct ExpParts {
  HWY_INLINE ExpParts(D d, V x) {
    namespace hn = hwy::HWY_NAMESPACE;
    const hn::Rebind<int32_t, D> di;
    const auto q = hn::NearestInt(hn::Mul(x, hn::Set(d, 1.44269504f)));
    const V qf = hn::ConvertTo(d, q);
    // ln 2 in two parts, the first so short that q times it is exact.
    r = hn::MulAdd(qf, hn::Set(d, -0.693359375f), x);
    r = hn::MulAdd(qf, hn::Set(d, 2.12194442e-4f), r);
    V p = hn::MulAdd(r, hn::Set(d, 0.00139262131f), hn::Set(d, 0.00836320315f));
    p = hn::MulAdd(p, r, hn::Set(d, 0.0416665561f));
    p = hn::MulAdd(p, r, hn::Set(d, 0.166665763f));
    p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
    pr = hn::Mul(p, r);
    power = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(q, hn::Set(di, 127))));
  }
  V r, pr, power;
};

template <class D, class V>
HWY_INLINE V Exp(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const ExpParts<D, V> e(d, x);
  const V y = hn::MulAdd(e.pr, e.r, hn::Add(e.r, hn::Set(d, 1.0f)));
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, -87.3f)), hn::Zero(d), hn::Mul(y, e.power));
}

// tanh(x) = E / (E + 2) with E = exp(2|x|) - 1, which is not the difference of two nearly equal numbers.
template <class D, class V>
HWY_INLINE V Tanh(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const V most = hn::Set(d, 20.0f), twice = hn::Abs(hn::Add(x, x));  // tanh(10) is 1 in f32
  const ExpParts<D, V> e(d, hn::IfThenElse(hn::Gt(twice, most), most, twice));
  const V y = hn::MulAdd(e.pr, e.r, e.r);
  const V less_one = hn::MulAdd(y, e.power, hn::Sub(e.power, hn::Set(d, 1.0f)));
  return hn::CopySign(hn::Div(less_one, hn::Add(less_one, hn::Set(d, 2.0f))), x);
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#endif
