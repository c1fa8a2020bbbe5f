#include "kernels/layernorm/layernorm.h"

#include <algorithm>

#include "base/buffer.h"
#include "kernels/isa.h"
#include "kernels/layernorm/layernorm_reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layernorm/layernorm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

float Sum(const float* x, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  V s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::Add(s0, hn::LoadU(d, x + i));
    s1 = hn::Add(s1, hn::LoadU(d, x + i + lanes));
    s2 = hn::Add(s2, hn::LoadU(d, x + i + 2 * lanes));
    s3 = hn::Add(s3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::Add(s0, hn::LoadU(d, x + i));
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += x[i];
  return sum;
}

LayerNormMoments<float> Moments(const float* x, float eps, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const float sum = Sum(x, n), mean = sum / float(n);
  const V m = hn::Set(d, mean);
  V s0 = hn::Zero(d), s1 = s0, q0 = s0, q1 = s0;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const V c0 = hn::Sub(hn::LoadU(d, x + i), m), c1 = hn::Sub(hn::LoadU(d, x + i + lanes), m);
    s0 = hn::Add(s0, c0);
    s1 = hn::Add(s1, c1);
    q0 = hn::MulAdd(c0, c0, q0);
    q1 = hn::MulAdd(c1, c1, q1);
  }
  for (; i + lanes <= n; i += lanes) {
    const V c = hn::Sub(hn::LoadU(d, x + i), m);
    s0 = hn::Add(s0, c);
    q0 = hn::MulAdd(c, c, q0);
  }
  float differences = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  float squares = hn::GetLane(hn::SumOfLanes(d, hn::Add(q0, q1)));
  for (; i < n; ++i) {
    differences += x[i] - mean;
    squares += (x[i] - mean) * (x[i] - mean);
  }
  return layer_norm_moments(sum, differences, squares, eps, n);
}

void AllMoments(LayerNormMoments<float>* moments, const float* x, float eps, int64_t n_tokens,
                int64_t n_embd) {
  for (int64_t t = 0; t < n_tokens; ++t) moments[t] = Moments(x + t * n_embd, eps, n_embd);
}

// x - mean, a vector and a number.
struct Center {
  Center(D d, const LayerNormMoments<float>& m)
      : moments(m), mean(hn::Set(d, m.mean)), rest(hn::Set(d, m.rest)) {}
  V operator()(V x) const { return hn::Sub(hn::Sub(x, mean), rest); }
  float operator()(float x) const { return moments.center(x); }
  const LayerNormMoments<float>& moments;
  V mean, rest;
};

template <bool kWeight, bool kBias>
void ForwardRows(float* y, const float* x, const float* weight, const float* bias, float eps,
                 int64_t n_tokens, int64_t n_embd) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t t = 0; t < n_tokens; ++t, x += n_embd, y += n_embd) {
    const LayerNormMoments<float> m = Moments(x, eps, n_embd);
    const Center center(d, m);
    const V scale = hn::Set(d, m.rstd);
    int64_t i = 0;
    for (; i + lanes <= n_embd; i += lanes) {
      V y_i = hn::Mul(center(hn::LoadU(d, x + i)), scale);
      if constexpr (kWeight) y_i = hn::Mul(y_i, hn::LoadU(d, weight + i));
      if constexpr (kBias) y_i = hn::Add(y_i, hn::LoadU(d, bias + i));
      hn::StoreU(y_i, d, y + i);
    }
    for (; i < n_embd; ++i) {
      y[i] = center(x[i]) * m.rstd * (kWeight ? weight[i] : 1.0f) + (kBias ? bias[i] : 0.0f);
    }
  }
}

void Forward(float* y, const float* x, const float* weight, const float* bias, float eps, int64_t n_tokens,
             int64_t n_embd) {
  const auto rows = weight ? bias ? ForwardRows<true, true> : ForwardRows<true, false>
                    : bias ? ForwardRows<false, true>
                           : ForwardRows<false, false>;
  rows(y, x, weight, bias, eps, n_tokens, n_embd);
}

template <bool kWeight, bool kAdd>
void BackwardRows(float* dx, const float* dy, const float* x, const float* weight, float eps,
                  int64_t n_tokens, int64_t n_embd) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t t = 0; t < n_tokens; ++t, x += n_embd, dy += n_embd, dx += n_embd) {
    const LayerNormMoments<float> m = Moments(x, eps, n_embd);
    const Center center(d, m);
    V sums = hn::Zero(d), dots = sums;
    int64_t i = 0;
    for (; i + lanes <= n_embd; i += lanes) {
      V g = hn::LoadU(d, dy + i);
      if constexpr (kWeight) g = hn::Mul(hn::LoadU(d, weight + i), g);
      sums = hn::Add(sums, g);
      dots = hn::MulAdd(g, center(hn::LoadU(d, x + i)), dots);
    }
    float sum = hn::GetLane(hn::SumOfLanes(d, sums)), dot = hn::GetLane(hn::SumOfLanes(d, dots));
    for (; i < n_embd; ++i) {
      const float g = (kWeight ? weight[i] : 1.0f) * dy[i];
      sum += g;
      dot += g * center(x[i]);
    }

    const float along_one = sum * m.rstd / float(n_embd),
                along_x = dot * m.rstd * m.rstd * m.rstd / float(n_embd);
    const V scale = hn::Set(d, m.rstd), minus_one = hn::Set(d, -along_one), minus_x = hn::Set(d, -along_x);
    for (i = 0; i + lanes <= n_embd; i += lanes) {
      V g = hn::LoadU(d, dy + i);
      if constexpr (kWeight) g = hn::Mul(hn::LoadU(d, weight + i), g);
      V dx_i = hn::MulAdd(scale, g, hn::MulAdd(minus_x, center(hn::LoadU(d, x + i)), minus_one));
      if constexpr (kAdd) dx_i = hn::Add(hn::LoadU(d, dx + i), dx_i);
      hn::StoreU(dx_i, d, dx + i);
    }
    for (; i < n_embd; ++i) {
      const float g = (kWeight ? weight[i] : 1.0f) * dy[i];
      dx[i] = (kAdd ? dx[i] : 0.0f) + (m.rstd * g - along_one - along_x * center(x[i]));
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

// Columns [begin, end), at most kLayerNormColumns. Sums of 64 tokens are added up apart, so that rounding
// does not grow with every token.
constexpr int64_t kTokens = 64;
void WeightGradient(float* dweight, const float* dy, const float* x, const LayerNormMoments<float>* moments,
                    int64_t n_tokens, int64_t n_embd, int64_t begin, int64_t end) {
  const D d;
  const int64_t lanes = hn::Lanes(d), n = end - begin;
  HWY_ALIGN float sum[kLayerNormColumns];
  for (int64_t t0 = 0; t0 < n_tokens; t0 += kTokens) {
    std::fill(sum, sum + kLayerNormColumns, 0.0f);
    for (int64_t t = t0; t < std::min(n_tokens, t0 + kTokens); ++t) {
      const float *dy_t = dy + t * n_embd + begin, *x_t = x + t * n_embd + begin;
      const Center center(d, moments[t]);
      const V scale = hn::Set(d, moments[t].rstd);
      int64_t i = 0;
      for (; i + lanes <= n; i += lanes) {
        const V normal = hn::Mul(center(hn::LoadU(d, x_t + i)), scale);
        hn::Store(hn::MulAdd(hn::LoadU(d, dy_t + i), normal, hn::Load(d, sum + i)), d, sum + i);
      }
      for (; i < n; ++i) sum[i] += dy_t[i] * (center(x_t[i]) * moments[t].rstd);
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

HWY_EXPORT(AllMoments);
HWY_EXPORT(Forward);
HWY_EXPORT(Backward);
HWY_EXPORT(WeightGradient);

// Pieces below some 16 thousand numbers are not worth another thread.
int64_t grain(int64_t n_embd) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(n_embd, 1));
}

}  // namespace

void layer_norm_forward(float* y, const float* x, const float* weight, const float* bias, float eps,
                        int64_t n_tokens, int64_t n_embd, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n_tokens, grain(n_embd), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * n_embd;
    const auto forward = scalar ? layer_norm_forward_reference<float> : HWY_DYNAMIC_DISPATCH(Forward);
    forward(y + at, x + at, weight, bias, eps, end - begin, n_embd);
  });
}

void layer_norm_backward(float* dx, const float* dy, const float* x, const float* weight, float eps,
                         int64_t n_tokens, int64_t n_embd, bool add, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n_tokens, grain(n_embd), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * n_embd;
    const auto backward = scalar ? layer_norm_backward_reference<float> : HWY_DYNAMIC_DISPATCH(Backward);
    backward(dx + at, dy + at, x + at, weight, eps, end - begin, n_embd, add);
  });
}

void layer_norm_weight_gradient(float* dweight, const float* dy, const float* x, float eps, int64_t n_tokens,
                                int64_t n_embd, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  Buffer<LayerNormMoments<float>> moments(n_tokens);
  pool.for_range(n_tokens, grain(n_embd), [&](int64_t begin, int64_t end) {
    if (!scalar) {
      HWY_DYNAMIC_DISPATCH(AllMoments)(moments.data() + begin, x + begin * n_embd, eps, end - begin, n_embd);
      return;
    }
    for (int64_t t = begin; t < end; ++t) moments[t] = layer_norm_moments(x + t * n_embd, eps, n_embd);
  });
  pool.run((n_embd + kLayerNormColumns - 1) / kLayerNormColumns, [&](int64_t block, int) {
    const int64_t begin = block * kLayerNormColumns, end = std::min(n_embd, begin + kLayerNormColumns);
    const auto gradient =
        scalar ? layer_norm_weight_gradient_reference<float> : HWY_DYNAMIC_DISPATCH(WeightGradient);
    gradient(dweight, dy, x, moments.data(), n_tokens, n_embd, begin, end);
  });
}

}  // namespace lora
#endif  // HWY_ONCE
