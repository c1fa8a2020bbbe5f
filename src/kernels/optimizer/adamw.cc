#include "kernels/optimizer/adamw.h"

#include <algorithm>

#include "base/buffer.h"
#include "kernels/isa.h"
#include "kernels/optimizer/adamw_reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/adamw.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The last numbers go through the same vector code in a padded copy: an element's bits must not
// depend on where threads cut the array.
void Update(float* p, float* m, float* v, const float* g, int64_t n, const AdamWFactors<float>& f) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto g_i = hn::Mul(hn::LoadU(d, g + i), hn::Set(d, f.gradient_scale));
    const auto m_i = hn::MulAdd(hn::Set(d, f.new1), g_i, hn::Mul(hn::LoadU(d, m + i), hn::Set(d, f.beta1)));
    const auto v_i =
        hn::MulAdd(hn::Mul(hn::Set(d, f.new2), g_i), g_i, hn::Mul(hn::LoadU(d, v + i), hn::Set(d, f.beta2)));
    const auto root = hn::MulAdd(hn::Sqrt(v_i), hn::Set(d, f.root_correction), hn::Set(d, f.eps));
    const auto move = hn::Div(hn::Mul(hn::Set(d, f.step_size), m_i), root);
    hn::StoreU(m_i, d, m + i);
    hn::StoreU(v_i, d, v + i);
    hn::StoreU(hn::Sub(hn::Mul(hn::LoadU(d, p + i), hn::Set(d, f.keep)), move), d, p + i);
  }
  if (i < n) {
    constexpr size_t kMax = hn::MaxLanes(d);
    HWY_ALIGN float p_i[kMax] = {}, m_i[kMax] = {}, v_i[kMax] = {}, g_i[kMax] = {};
    std::copy(p + i, p + n, p_i);
    std::copy(m + i, m + n, m_i);
    std::copy(v + i, v + n, v_i);
    std::copy(g + i, g + n, g_i);
    Update(p_i, m_i, v_i, g_i, lanes, f);
    std::copy(p_i, p_i + (n - i), p + i);
    std::copy(m_i, m_i + (n - i), m + i);
    std::copy(v_i, v_i + (n - i), v + i);
  }
}

// In f64 lanes: squares of small gradients would underflow in f32.
double SumOfSquares(const float* x, int64_t n) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  const int64_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = s0;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto x0 = hn::PromoteTo(d, hn::LoadU(df, x + i));
    const auto x1 = hn::PromoteTo(d, hn::LoadU(df, x + i + lanes));
    s0 = hn::MulAdd(x0, x0, s0);
    s1 = hn::MulAdd(x1, x1, s1);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) sum += double(x[i]) * double(x[i]);
  return sum;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(Update);
HWY_EXPORT(SumOfSquares);

constexpr int64_t kGrain = 16384;

}  // namespace

void adamw_update(float* p, float* m, float* v, const float* g, int64_t n, const AdamWStep& step,
                  ThreadPool& pool) {
  const AdamWFactors<float> factors(step);
  const auto update = isa() == Isa::scalar ? adamw_update_reference<float> : HWY_DYNAMIC_DISPATCH(Update);
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    update(p + begin, m + begin, v + begin, g + begin, end - begin, factors);
  });
}

double sum_of_squares(const float* x, int64_t n, ThreadPool& pool) {
  const auto squares =
      isa() == Isa::scalar ? sum_of_squares_reference<float> : HWY_DYNAMIC_DISPATCH(SumOfSquares);
  const int64_t n_blocks = (n + kGrain - 1) / kGrain;
  Buffer<double> sums(n_blocks);
  pool.run(n_blocks, [&](int64_t block, int) {
    const int64_t begin = block * kGrain;
    sums[block] = squares(x + begin, std::min(kGrain, n - begin));
  });
  double sum = 0;
  for (int64_t block = 0; block < n_blocks; ++block) sum += sums[block];
  return sum;
}

}  // namespace lora
#endif  // HWY_ONCE
