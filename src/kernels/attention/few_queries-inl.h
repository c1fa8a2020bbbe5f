// Attention of a few queries to many keys, as generation asks for: one query at a time, head_dim
// in the lanes. A tile of queries would be mostly empty; this reads keys and values once, at
// the speed of memory, and decodes them once for all heads of a group. One query and 4096 keys, AMD Zen 5
// with AVX-512, one thread:
//
//   key heads of 32    f32      f16      q8_0
//                32    7.0 ms   5.5 ms   4.5 ms
//                 8    2.6 ms   2.0 ms   1.8 ms   (f32 head by head: 4.1 ms)
//
// Included once per Highway target.
#if defined(LORA_KERNELS_ATTENTION_FEW_QUERIES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LORA_KERNELS_ATTENTION_FEW_QUERIES_INL_H_
#undef LORA_KERNELS_ATTENTION_FEW_QUERIES_INL_H_
#else
#define LORA_KERNELS_ATTENTION_FEW_QUERIES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/elementary.h"
#include "kernels/attention/few_queries.h"
#include "kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// dots[0 .. 4) = q . key for four keys at once.
void Dot4(float* dots, const float* q, const float* const keys[4], int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  V s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V q_i = hn::LoadU(d, q + i);
    s0 = hn::MulAdd(q_i, hn::LoadU(d, keys[0] + i), s0);
    s1 = hn::MulAdd(q_i, hn::LoadU(d, keys[1] + i), s1);
    s2 = hn::MulAdd(q_i, hn::LoadU(d, keys[2] + i), s2);
    s3 = hn::MulAdd(q_i, hn::LoadU(d, keys[3] + i), s3);
  }
  dots[0] = hn::GetLane(hn::SumOfLanes(d, s0));
  dots[1] = hn::GetLane(hn::SumOfLanes(d, s1));
  dots[2] = hn::GetLane(hn::SumOfLanes(d, s2));
  dots[3] = hn::GetLane(hn::SumOfLanes(d, s3));
  for (; i < n; ++i) {
    for (int64_t j = 0; j < 4; ++j) dots[j] += q[i] * keys[j][i];
  }
}

// out = out * factor + sum_j p_j v_j.
void AddValues(float* out, const float* p, const float* v, int64_t v_row, int64_t n_keys, int64_t dim,
               float factor) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const V f = hn::Set(d, factor);
  int64_t c = 0;
  for (; c + 4 * lanes <= dim; c += 4 * lanes) {
    V s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t j = 0; j < n_keys; ++j) {
      const V p_j = hn::Set(d, p[j]);
      const float* v_j = v + j * v_row + c;
      s0 = hn::MulAdd(p_j, hn::LoadU(d, v_j), s0);
      s1 = hn::MulAdd(p_j, hn::LoadU(d, v_j + lanes), s1);
      s2 = hn::MulAdd(p_j, hn::LoadU(d, v_j + 2 * lanes), s2);
      s3 = hn::MulAdd(p_j, hn::LoadU(d, v_j + 3 * lanes), s3);
    }
    hn::StoreU(hn::MulAdd(f, hn::LoadU(d, out + c), s0), d, out + c);
    hn::StoreU(hn::MulAdd(f, hn::LoadU(d, out + c + lanes), s1), d, out + c + lanes);
    hn::StoreU(hn::MulAdd(f, hn::LoadU(d, out + c + 2 * lanes), s2), d, out + c + 2 * lanes);
    hn::StoreU(hn::MulAdd(f, hn::LoadU(d, out + c + 3 * lanes), s3), d, out + c + 3 * lanes);
  }
  for (; c + lanes <= dim; c += lanes) {
    V s = hn::Zero(d);
    for (int64_t j = 0; j < n_keys; ++j) s = hn::MulAdd(hn::Set(d, p[j]), hn::LoadU(d, v + j * v_row + c), s);
    hn::StoreU(hn::MulAdd(f, hn::LoadU(d, out + c), s), d, out + c);
  }
  for (; c < dim; ++c) {
    float s = 0;
    for (int64_t j = 0; j < n_keys; ++j) s += p[j] * v[j * v_row + c];
    out[c] = out[c] * factor + s;
  }
}

// One query meets n_rows <= kTileRows keys: out, max and sum go on.
void MeetKeys(float* out, float& max, float& sum, const float* q, const RowsView& k, const RowsView& v,
              int64_t n_rows, const AttentionShape& shape) {
  const D d;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  HWY_ALIGN float p[kTileRows];
  for (int64_t j = 0; j < n_rows; j += 4) {
    const float* keys[4];  // the last key stands in for the ones that a short group lacks
    for (int64_t r = 0; r < 4; ++r) keys[r] = k.data + std::min(j + r, n_rows - 1) * k.row;
    Dot4(p + j, q, keys, shape.head_dim);
  }
  if (shape.softcap > 0) {
    const V to_cap = hn::Set(d, shape.scale / shape.softcap), cap = hn::Set(d, shape.softcap / shape.scale);
    for (int64_t j = 0; j < n_rows; j += hn::Lanes(d)) {
      hn::Store(hn::Mul(cap, Tanh(d, hn::Mul(hn::Load(d, p + j), to_cap))), d, p + j);
    }
  }
  std::fill(p + n_rows, p + kTileRows, -kInfinity);

  V tile_max = hn::Set(d, -kInfinity), tile_sum = hn::Zero(d);
  for (int64_t j = 0; j < kTileRows; j += hn::Lanes(d)) {
    const V score = hn::Mul(hn::Load(d, p + j), hn::Set(d, shape.scale));
    hn::Store(score, d, p + j);
    tile_max = hn::Max(tile_max, score);
  }
  const float new_max = std::max(max, hn::GetLane(hn::MaxOfLanes(d, tile_max)));
  for (int64_t j = 0; j < kTileRows; j += hn::Lanes(d)) {
    const V e = Exp(d, hn::Sub(hn::Load(d, p + j), hn::Set(d, new_max)));
    hn::Store(e, d, p + j);
    tile_sum = hn::Add(tile_sum, e);
  }
  const float factor = elementary::exp(max - new_max);
  sum = sum * factor + hn::GetLane(hn::SumOfLanes(d, tile_sum));
  max = new_max;
  AddValues(out, p, v.data, v.row, n_rows, shape.v_dim(), factor);
}

void ForwardFewQueries(const ForwardPass& pass, const AttentionSegment& seg, int64_t head_kv, int64_t piece,
                       int64_t n_pieces, std::byte* scratch) {
  const AttentionShape& shape = pass.shape;
  const int64_t v_dim = shape.v_dim(), group = shape.n_head / shape.n_head_kv;
  Layout layout(scratch);
  const FewQueriesScratch a(layout, shape);
  const auto for_each_query = [&](const auto& body) {
    for (int64_t h = piece; h < group; h += n_pieces) {
      const HeadView head(seg, shape, head_kv * group + h);
      for (int64_t i = 0; i < seg.n_q; ++i) {
        const int64_t state = h * seg.n_q + i;
        body(head, i, pass.q + head.q_at + i * head.q_row, pass.out + head.out_at + i * head.out_row,
             a.max[state], a.sum[state]);
      }
    }
  };
  for_each_query([&](const HeadView& head, int64_t, const float*, float* out, float& max, float& sum) {
    std::fill(out, out + v_dim, 0.0f);
    max = head.first_max;
    sum = head.first_sum;
  });
  const int64_t n_kv = seg.n_q > 0 ? seg.n_kv : 0;
  for (int64_t j0 = HeadView(seg, shape, 0).first_visible(0); j0 < n_kv; j0 += kTileRows) {
    const int64_t n_rows = std::min(kTileRows, n_kv - j0);
    const RowsView k = pass.k.view(seg.kv_begin + j0, n_rows, head_kv, a.k, a.blocks);
    const RowsView v = pass.v_is_k ? k : pass.v.view(seg.kv_begin + j0, n_rows, head_kv, a.v, a.blocks);
    for_each_query([&](const HeadView& head, int64_t i, const float* q, float* out, float& max, float& sum) {
      const int64_t first = std::max<int64_t>(0, head.first_visible(i) - j0);
      const int64_t end = std::min(n_rows, head.n_visible(i) - j0);
      if (first >= end) return;
      const RowsView k_seen{k.data + first * k.row, k.row}, v_seen{v.data + first * v.row, v.row};
      MeetKeys(out, max, sum, q, k_seen, v_seen, end - first, shape);
    });
  }
  for_each_query([&](const HeadView&, int64_t, const float*, float* out, float&, float& sum) {
    for (int64_t c = 0; c < v_dim; ++c) out[c] /= sum;
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#endif
