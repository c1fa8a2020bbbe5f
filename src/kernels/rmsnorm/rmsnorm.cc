#include "kernels/rmsnorm/rmsnorm.h"

#include <algorithm>

#include "base/buffer.h"
#include "kernels/isa.h"
#include "kernels/rmsnorm/rmsnorm_reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rmsnorm/rmsnorm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

float Rstd(const float* x, float eps, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  V s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const V x0 = hn::LoadU(d, x + i), x1 = hn::LoadU(d, x + i + lanes);
    const V x2 = hn::LoadU(d, x + i + 2 * lanes), x3 = hn::LoadU(d, x + i + 3 * lanes);
    s0 = hn::MulAdd(x0, x0, s0);
    s1 = hn::MulAdd(x1, x1, s1);
    s2 = hn::MulAdd(x2, x2, s2);
    s3 = hn::MulAdd(x3, x3, s3);
  }
  for (; i + lanes <= n; i += lanes) {
    const V x0 = hn::LoadU(d, x + i);
    s0 = hn::MulAdd(x0, x0, s0);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += x[i] * x[i];
  return 1 / std::sqrt(sum / float(n) + eps);
}

void Rstds(float* rstd, const float* x, float eps, int64_t n_tokens, int64_t n_embd) {
  for (int64_t t = 0; t < n_tokens; ++t) rstd[t] = Rstd(x + t * n_embd, eps, n_embd);
}

template <bool kWeight>
void ForwardRows(float* y, const float* x, const float* weight, float eps, int64_t n_tokens, int64_t n_embd) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t t = 0; t < n_tokens; ++t, x += n_embd, y += n_embd) {
    const float rstd = Rstd(x, eps, n_embd);
    const V scale = hn::Set(d, rstd);
    int64_t i = 0;
    for (; i + lanes <= n_embd; i += lanes) {
      V y_i = hn::Mul(hn::LoadU(d, x + i), scale);
      if constexpr (kWeight) y_i = hn::Mul(y_i, hn::LoadU(d, weight + i));
      hn::StoreU(y_i, d, y + i);
    }
    for (; i < n_embd; ++i) y[i] = x[i] * rstd * (kWeight ? weight[i] : 1.0f);
  }
}

void Forward(float* y, const float* x, const float* weight, float eps, int64_t n_tokens, int64_t n_embd) {
  (weight ? ForwardRows<true> : ForwardRows<false>)(y, x, weight, eps, n_tokens, n_embd);
}

template <bool kWeight, bool kAdd>
void BackwardRows(float* dx, const float* dy, const float* x, const float* weight, float eps,
                  int64_t n_tokens, int64_t n_embd) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const auto g_at = [&](int64_t i) HWY_ATTR {
    const V dy_i = hn::LoadU(d, dy + i);
    if constexpr (kWeight) return hn::Mul(hn::LoadU(d, weight + i), dy_i);
    return dy_i;
  };
  for (int64_t t = 0; t < n_tokens; ++t, x += n_embd, dy += n_embd, dx += n_embd) {
    const float rstd = Rstd(x, eps, n_embd);
    V s0 = hn::Zero(d), s1 = s0;
    int64_t i = 0;
    for (; i + 2 * lanes <= n_embd; i += 2 * lanes) {
      s0 = hn::MulAdd(g_at(i), hn::LoadU(d, x + i), s0);
      s1 = hn::MulAdd(g_at(i + lanes), hn::LoadU(d, x + i + lanes), s1);
    }
    float dot = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
    for (; i < n_embd; ++i) dot += (kWeight ? weight[i] : 1.0f) * dy[i] * x[i];

    const float along_x = dot * rstd * rstd * rstd / float(n_embd);
    const V scale = hn::Set(d, rstd), minus = hn::Set(d, -along_x);
    for (i = 0; i + lanes <= n_embd; i += lanes) {
      const V sum = kAdd ? hn::MulAdd(scale, g_at(i), hn::LoadU(d, dx + i)) : hn::Mul(scale, g_at(i));
      hn::StoreU(hn::MulAdd(minus, hn::LoadU(d, x + i), sum), d, dx + i);
    }
    for (; i < n_embd; ++i) {
      dx[i] = (kAdd ? dx[i] : 0.0f) + (rstd * (kWeight ? weight[i] : 1.0f) * dy[i] - along_x * x[i]);
    }
  }
}

void Backward(float* dx, const float* dy, const float* x, const float* weight, float eps, int64_t n_tokens,
              int64_t n_embd, bool add) {
  const auto rows = weight ? add ? BackwardRows<true, true> : BackwardRows<true, false>
                    : add ? BackwardRows<false, true>
                           : BackwardRows<false, false>;
  rows(dx, dy, x, weight, eps, n_tokens, n_embd);
}

// Columns [begin, end), at most kRmsNormColumns. Sums of 64 tokens are added up apart, so that rounding
// does not grow with every token.
constexpr int64_t kTokens = 64;
void WeightGradient(float* dweight, const float* dy, const float* x, const float* rstd, int64_t n_tokens,
                    int64_t n_embd, int64_t begin, int64_t end) {
  const D d;
  const int64_t lanes = hn::Lanes(d), n = end - begin;
  HWY_ALIGN float sum[kRmsNormColumns];
  for (int64_t t0 = 0; t0 < n_tokens; t0 += kTokens) {
    std::fill(sum, sum + kRmsNormColumns, 0.0f);
    for (int64_t t = t0; t < std::min(n_tokens, t0 + kTokens); ++t) {
      const float *dy_t = dy + t * n_embd + begin, *x_t = x + t * n_embd + begin;
      const V scale = hn::Set(d, rstd[t]);
      int64_t i = 0;
      for (; i + lanes <= n; i += lanes) {
        const V normal = hn::Mul(hn::LoadU(d, x_t + i), scale);
        hn::Store(hn::MulAdd(hn::LoadU(d, dy_t + i), normal, hn::Load(d, sum + i)), d, sum + i);
      }
      for (; i < n; ++i) sum[i] += dy_t[i] * (x_t[i] * rstd[t]);
    }
    for (int64_t i = 0; i < n; ++i) dweight[begin + i] += sum[i];
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(Rstds);
HWY_EXPORT(Forward);
HWY_EXPORT(Backward);
HWY_EXPORT(WeightGradient);

// Pieces below some 16 thousand numbers are not worth another thread. Short rows, as heads are, run at the
// share of a copy's speed that long ones have: 56% for rows of 64, 62% of 128, 53% of 4096 (AMD Zen 5).
int64_t grain(int64_t n_embd) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(n_embd, 1));
}

}  // namespace

void rms_norm_forward(float* y, const float* x, const float* weight, float eps, int64_t n_tokens,
                      int64_t n_embd, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n_tokens, grain(n_embd), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * n_embd;
    if (scalar) return rms_norm_forward_reference(y + at, x + at, weight, eps, end - begin, n_embd);
    HWY_DYNAMIC_DISPATCH(Forward)(y + at, x + at, weight, eps, end - begin, n_embd);
  });
}

void rms_norm_backward(float* dx, const float* dy, const float* x, const float* weight, float eps,
                       int64_t n_tokens, int64_t n_embd, bool add, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n_tokens, grain(n_embd), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * n_embd;
    const auto backward = scalar ? rms_norm_backward_reference<float> : HWY_DYNAMIC_DISPATCH(Backward);
    backward(dx + at, dy + at, x + at, weight, eps, end - begin, n_embd, add);
  });
}

void rms_norm_weight_gradient(float* dweight, const float* dy, const float* x, float eps, int64_t n_tokens,
                              int64_t n_embd, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  Buffer<float> rstd(n_tokens);
  pool.for_range(n_tokens, grain(n_embd), [&](int64_t begin, int64_t end) {
    if (scalar) {
      for (int64_t t = begin; t < end; ++t) rstd[t] = rms_norm_rstd(x + t * n_embd, eps, n_embd);
    } else {
      HWY_DYNAMIC_DISPATCH(Rstds)(rstd.data() + begin, x + begin * n_embd, eps, end - begin, n_embd);
    }
  });
  pool.run((n_embd + kRmsNormColumns - 1) / kRmsNormColumns, [&](int64_t block, int) {
    const int64_t begin = block * kRmsNormColumns, end = std::min(n_embd, begin + kRmsNormColumns);
    if (scalar) {
      rms_norm_weight_gradient_reference(dweight, dy, x, rstd.data(), n_tokens, n_embd, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(WeightGradient)(dweight, dy, x, rstd.data(), n_tokens, n_embd, begin, end);
    }
  });
}

}  // namespace lora
#endif  // HWY_ONCE
