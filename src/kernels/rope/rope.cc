#include "kernels/rope/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/elementary.h"
#include "base/error.h"
#include "kernels/isa.h"
#include "kernels/rope/rope_reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope/rope.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// One token, pairs (i, i + n_pairs).
void Halves(float* x, int64_t n_head, int64_t head_dim, const float* cos, const float* sin, int64_t n_pairs,
            float sign) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t h = 0; h < n_head; ++h, x += head_dim) {
    int64_t i = 0;
    for (; i + lanes <= n_pairs; i += lanes) {
      const V a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + n_pairs + i);
      const V c = hn::LoadU(d, cos + i), s = hn::Mul(hn::LoadU(d, sin + i), hn::Set(d, sign));
      hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
      hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, x + n_pairs + i);
    }
    for (; i < n_pairs; ++i) {
      const float a = x[i], b = x[n_pairs + i], c = cos[i], s = sin[i] * sign;
      x[i] = a * c - b * s;
      x[n_pairs + i] = a * s + b * c;
    }
  }
}

// One token, pairs (2i, 2i + 1). The table's entries are spread to (c, c) and (-s, s) once, then
// serve all heads: x * (c, c) + swapped(x) * (-s, s).
void Interleaved(float* x, int64_t n_head, int64_t head_dim, const float* cos, const float* sin,
                 int64_t n_pairs, float sign) {
  constexpr int64_t kPairs = 64;
  HWY_ALIGN float cc[2 * kPairs], ss[2 * kPairs];
  for (int64_t begin = 0; begin < n_pairs; begin += kPairs) {
    const int64_t n = 2 * std::min(kPairs, n_pairs - begin);
    for (int64_t i = 0; i < n; i += 2) {
      cc[i] = cc[i + 1] = cos[begin + i / 2];
      ss[i + 1] = sin[begin + i / 2] * sign;
      ss[i] = -ss[i + 1];
    }
    for (int64_t h = 0; h < n_head; ++h) {
      float* x_h = x + h * head_dim + 2 * begin;
      int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
      const D d;
      const int64_t lanes = hn::Lanes(d);
      for (; i + lanes <= n; i += lanes) {
        const V v = hn::LoadU(d, x_h + i);
        const V turned = hn::Mul(v, hn::Load(d, cc + i));
        hn::StoreU(hn::MulAdd(hn::Shuffle2301(v), hn::Load(d, ss + i), turned), d, x_h + i);
      }
#endif
      for (; i < n; i += 2) {
        const float a = x_h[i], b = x_h[i + 1];
        x_h[i] = a * cc[i] + b * ss[i];
        x_h[i + 1] = b * cc[i + 1] + a * ss[i + 1];
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(Halves);
HWY_EXPORT(Interleaved);

// The pair that makes `turns` full turns over the original context:
// n_ctx_orig * freq_base^(-2 i / n_rot) = 2 pi turns, solved for i.
double pair_with_turns(const RopeParameters& p, double turns) {
  return double(p.n_rot) * elementary::log(double(p.n_ctx_orig) / (turns * 2 * std::numbers::pi)) /
         (2 * elementary::log(p.freq_base));
}

void check(const RopeParameters& p) {
  if (p.n_rot < 0 || p.n_rot % 2) fail("rope: n_rot must be even and not negative, found {}", p.n_rot);
  for (const std::vector<float>* factors : {&p.freq_factors, &p.long_freq_factors}) {
    if (!factors->empty() && int64_t(factors->size()) != p.n_rot / 2) {
      fail("rope: {} frequency factors for {} pairs", factors->size(), p.n_rot / 2);
    }
    for (float f : *factors) {
      if (!(f > 0)) fail("rope: frequency factors must be positive, found {}", f);
    }
  }
  if (!(p.freq_base > 0)) fail("rope: freq_base must be positive, found {}", p.freq_base);
  if (!(p.freq_scale > 0)) fail("rope: freq_scale must be positive, found {}", p.freq_scale);
  if (p.yarn && p.n_ctx_orig <= 0)
    fail("rope: YaRN needs the original context length, found {}", p.n_ctx_orig);
}

}  // namespace

RopeTable make_rope_table(const RopeParameters& p, int64_t n_positions) {
  check(p);
  const int64_t n_pairs = p.n_rot / 2;
  const bool is_long = !p.long_freq_factors.empty() && n_positions > p.n_ctx_orig;
  const std::vector<float>& factors = is_long ? p.long_freq_factors : p.freq_factors;
  // The ramp runs from the first to the last pair that YaRN mixes. Its bounds count pairs but are
  // clamped as if they counted components: so does llama.cpp.
  double first = 0, last = 0, magnitude = p.yarn_attn_factor;
  if (p.yarn) {
    first = pair_with_turns(p, p.yarn_beta_fast);
    last = pair_with_turns(p, p.yarn_beta_slow);
    if (p.yarn_truncate) first = std::floor(first), last = std::ceil(last);
    first = std::max(0.0, first);
    last = std::min(double(p.n_rot - 1), last);
    if (p.yarn_ext_factor != 0) {
      const double log_scale = 0.1 * elementary::log(1 / p.freq_scale);
      const double all = 1 + p.yarn_log_multiplier * log_scale;
      if (!(all > 0)) fail("rope: a YaRN log multiplier of {} makes no sense", p.yarn_log_multiplier);
      magnitude *= (1 + log_scale) / all;
    }
  }
  RopeTable table{p.n_rot, n_positions, Buffer<float>(n_positions * n_pairs),
                  Buffer<float>(n_positions * n_pairs)};
  for (int64_t i = 0; i < n_pairs; ++i) {
    const double factor = factors.empty() ? 1.0 : double(factors[size_t(i)]);
    const double unscaled = elementary::pow(p.freq_base, -2.0 * double(i) / double(p.n_rot)) / factor;
    double theta = unscaled * p.freq_scale;
    if (p.yarn) {
      const double ramp = 1 - std::clamp((double(i) - first) / std::max(0.001, last - first), 0.0, 1.0);
      const double mix = ramp * p.yarn_ext_factor;
      theta = theta * (1 - mix) + unscaled * mix;
    }
    for (int64_t position = 0; position < n_positions; ++position) {
      const auto [cos, sin] = elementary::cos_sin(double(position) * theta);
      table.cos[position * n_pairs + i] = float(cos * magnitude);
      table.sin[position * n_pairs + i] = float(sin * magnitude);
    }
  }
  return table;
}

void rope_apply(float* x, const int32_t* positions, int64_t n_tokens, int64_t n_head, int64_t head_dim,
                const RopeTable& table, RopeStyle style, bool inverse, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  const int64_t row = n_head * head_dim, n_pairs = table.n_rot / 2;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(row, 1));
  pool.for_range(n_tokens, grain, [&](int64_t begin, int64_t end) {
    if (scalar) {
      return rope_apply_reference(x + begin * row, positions + begin, end - begin, n_head, head_dim,
                                  table.cos.data(), table.sin.data(), table.n_rot, style, inverse);
    }
    const auto turn =
        style == RopeStyle::halves ? HWY_DYNAMIC_DISPATCH(Halves) : HWY_DYNAMIC_DISPATCH(Interleaved);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t at = positions[t] * n_pairs;
      turn(x + t * row, n_head, head_dim, table.cos.data() + at, table.sin.data() + at, n_pairs,
           inverse ? -1.0f : 1.0f);
    }
  });
}

}  // namespace lora
#endif  // HWY_ONCE
