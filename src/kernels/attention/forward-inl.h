// Attention forward: blocks of queries meet tiles of keys and values. Included once per Highway target.
#if defined(LORA_KERNELS_ATTENTION_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LORA_KERNELS_ATTENTION_FORWARD_INL_H_
#undef LORA_KERNELS_ATTENTION_FORWARD_INL_H_
#else
#define LORA_KERNELS_ATTENTION_FORWARD_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/attention/few_queries-inl.h"
#include "kernels/attention/tile-inl.h"
#include "kernels/attention/tile.h"
#include "kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {

// Scores become exp(score - maximum so far); sums and maxima go on, and factor is what earlier
// sums must be multiplied by.
void SoftmaxTile(float* scores, int64_t n_rows, float* max, float* sum, float* factor) {
  const D d;
  for (int64_t c = 0; c < kColumns; c += hn::Lanes(d)) {
    const V before = hn::Load(d, max + c);
    V m0 = before, m1 = before;
    int64_t r = 0;
    for (; r + 2 <= n_rows; r += 2) {
      m0 = hn::Max(m0, hn::Load(d, scores + r * kColumns + c));
      m1 = hn::Max(m1, hn::Load(d, scores + (r + 1) * kColumns + c));
    }
    if (r < n_rows) m0 = hn::Max(m0, hn::Load(d, scores + r * kColumns + c));
    const V m = hn::Max(m0, m1);
    V s = hn::Zero(d);
    for (r = 0; r < n_rows; ++r) {
      const V p = Exp(d, hn::Sub(hn::Load(d, scores + r * kColumns + c), m));
      hn::Store(p, d, scores + r * kColumns + c);
      s = hn::Add(s, p);
    }
    const V f = Exp(d, hn::Sub(before, m));
    hn::Store(m, d, max + c);
    hn::Store(f, d, factor + c);
    hn::Store(hn::MulAdd(hn::Load(d, sum + c), f, s), d, sum + c);
  }
}

// One block's state while tiles of keys pass by.
struct ForwardBlock {
  HeadView head;
  int64_t q0, n;       // queries q0 .. q0 + n
  float* q_columns;    // (head_dim, kColumns)
  float* out_columns;  // (head_dim, kColumns)
  float *max, *sum;    // (kColumns)
};

ForwardBlock BeginForward(const float* q, const HeadView& head, const AttentionShape& shape, int64_t q0,
                          float* scratch) {
  const int64_t size = shape.head_dim * kColumns;
  const ForwardBlock b{head,
                       q0,
                       std::min(kColumns, head.n_q - q0),
                       scratch,
                       scratch + size,
                       scratch + 2 * size,
                       scratch + 2 * size + kColumns};
  ToColumns(b.q_columns, q + head.q_at + q0 * head.q_row, head.q_row, b.n, shape.head_dim, shape.scale);
  std::fill(b.out_columns, b.out_columns + size, 0.0f);
  std::fill(b.max, b.max + kColumns, -std::numeric_limits<float>::infinity());
  std::fill(b.sum, b.sum + kColumns, 0.0f);
  return b;
}

void EndForward(float* out, float* lse, const ForwardBlock& b, int64_t head_dim, float* factor) {
  for (int64_t i = 0; i < kColumns; ++i) factor[i] = 1 / b.sum[i];
  for (int64_t i = 0; lse && i < b.n; ++i) {
    lse[b.head.lse_at + (b.q0 + i) * b.head.lse_row] = b.max[i] + std::log(b.sum[i]);
  }
  ToRows(out + b.head.q_at + b.q0 * b.head.q_row, b.head.q_row, b.out_columns, factor, b.n, head_dim);
}

// Blocks [first, last) of one key/value head's queries: block b has kColumns queries of the group's head b %
// group. They share each tile of keys and values once it is packed.
void Forward(float* out, float* lse, const float* q, const float* k, const float* v,
             const AttentionSegment& seg, const AttentionShape& shape, int64_t head_kv, int64_t first,
             int64_t last, float* scratch) {
  const int64_t dim = shape.head_dim, group = shape.n_head / shape.n_head_kv;
  float* k_packed = scratch;  // (kTileRows, head_dim), as v_packed
  float* v_packed = k_packed + kTileRows * dim;
  float* scores = v_packed + kTileRows * dim;  // (kTileRows, kColumns)
  float* factor = scores + kTileRows * kColumns;
  float* states = factor + kColumns;

  ForwardBlock blocks[kSharedBlocks];
  int64_t n_blocks = 0, n_keys = 0;
  for (int64_t i = first; i < last; ++i) {
    const HeadView head(seg, shape, head_kv * group + i % group);
    const int64_t q0 = i / group * kColumns, n = std::min(kColumns, seg.n_q - q0);
    if (n < kFewQueries) {
      ForwardFewQueries(out, lse, q, k, v, head, shape, q0, n);
      continue;
    }
    blocks[n_blocks] = BeginForward(q, head, shape, q0, states + n_blocks * forward_state(dim));
    n_keys = std::max(n_keys, head.n_visible(q0 + n - 1));
    ++n_blocks;
  }
  for (int64_t j0 = 0; j0 < n_keys; j0 += kTileRows) {
    const HeadView& head = blocks[0].head;
    const int64_t n_packed = std::min(kTileRows, n_keys - j0), kv = head.kv_at + j0 * head.kv_row;
    const Strided k_tile = Pack(k_packed, k + kv, head.kv_row, n_packed, dim);
    const Strided v_tile = Pack(v_packed, v + kv, head.kv_row, n_packed, dim);
    for (int64_t i = 0; i < n_blocks; ++i) {
      const ForwardBlock& b = blocks[i];
      const int64_t n_rows = std::min(n_packed, b.head.n_visible(b.q0 + b.n - 1) - j0);
      if (n_rows <= 0) continue;
      Multiply<Into::set>(scores, k_tile, b.q_columns, n_rows, dim);
      HideLaterKeys(scores, j0, n_rows, b.head.n_visible(b.q0));
      SoftmaxTile(scores, n_rows, b.max, b.sum, factor);
      Multiply<Into::scaled>(b.out_columns, v_tile.transposed(), scores, dim, n_rows, factor);
    }
  }
  for (int64_t i = 0; i < n_blocks; ++i) EndForward(out, lse, blocks[i], dim, factor);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#endif
