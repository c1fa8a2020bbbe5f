#include "kernels/dot/dot.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dot/dot.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/decode/decode.h"
#include "kernels/dot/dot_reference.h"
#include "kernels/isa.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Four chains hide the multiply-add's latency.
HWY_ATTR float Dot(const float* HWY_RESTRICT x, const float* HWY_RESTRICT y, int64_t n) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, x + i + lanes), hn::LoadU(d, y + i + lanes), s1);
    s2 = hn::MulAdd(hn::LoadU(d, x + i + 2 * lanes), hn::LoadU(d, y + i + 2 * lanes), s2);
    s3 = hn::MulAdd(hn::LoadU(d, x + i + 3 * lanes), hn::LoadU(d, y + i + 3 * lanes), s3);
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), s0);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(Dot);

float dot(const float* x, const float* y, int64_t n) {
  return isa() == Isa::scalar ? dot_reference(x, y, n) : HWY_DYNAMIC_DISPATCH(Dot)(x, y, n);
}

}  // namespace

void dot_rows(float* y, const float* x, const MatrixView& w, int64_t n_tokens, bool accumulate,
              ThreadPool& pool) {
  constexpr int64_t kBlock = 2048;  // columns decoded at a time: 8 KB, a multiple of every block size
  const RowDecoder decode(w);
  pool.for_range(w.n_rows, 8, [&](int64_t begin, int64_t end) {
    alignas(64) float decoded[kBlock];
    for (int64_t o = begin; o < end; ++o) {
      float sums[kDotTokens] = {};
      for (int64_t i = 0; i < w.n_cols; i += kBlock) {
        const int64_t n = std::min(kBlock, w.n_cols - i);
        decode(decoded, o, i, i + n);
        for (int64_t t = 0; t < n_tokens; ++t) sums[t] += dot(decoded, x + t * w.n_cols + i, n);
      }
      for (int64_t t = 0; t < n_tokens; ++t) {
        float& out = y[t * w.n_rows + o];
        out = accumulate ? out + sums[t] : sums[t];
      }
    }
  });
}

}  // namespace lora
#endif
