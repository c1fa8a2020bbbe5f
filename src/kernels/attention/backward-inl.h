// Attention backward, in two passes: dq by blocks of queries, dk and dv by blocks of keys. Seven products
// instead of a single pass's five, but every output is written by one task alone, one long segment with few
// heads keeps all threads busy, and no sum depends on their number. Included once per Highway target.
#if defined(LORA_KERNELS_ATTENTION_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LORA_KERNELS_ATTENTION_BACKWARD_INL_H_
#undef LORA_KERNELS_ATTENTION_BACKWARD_INL_H_
#else
#define LORA_KERNELS_ATTENTION_BACKWARD_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
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

// Scores of a tile with queries as rows and keys as columns: row r sees columns below n_visible + r.
void HideLaterColumns(float* scores, int64_t n_rows, int64_t n_visible) {
  const D d;
  for (int64_t r = 0; r < std::min(n_rows, kColumns - n_visible); ++r) {
    const V first_hidden = hn::Set(d, float(n_visible + r));
    for (int64_t c = 0; c < kColumns; c += hn::Lanes(d)) {
      float* at = scores + r * kColumns + c;
      const auto hidden = hn::Ge(hn::Iota(d, float(c)), first_hidden);
      hn::Store(hn::IfThenElse(hidden, hn::Set(d, -std::numeric_limits<float>::infinity()), hn::Load(d, at)),
                d, at);
    }
  }
}

// One block of queries, while tiles of keys pass by.
struct QueryBlock {
  HeadView head;
  int64_t q0, n;                                 // queries q0 .. q0 + n
  float *q_columns, *dout_columns, *dq_columns;  // (head_dim, kColumns)
  float *lse, *delta;                            // (kColumns)
};

// delta_i = dout_i . out_i is left in its array for dk and dv.
QueryBlock BeginQueries(float* delta, const float* dout, const float* out, const float* lse, const float* q,
                        const HeadView& head, const AttentionShape& shape, int64_t q0, float* scratch) {
  const int64_t dim = shape.head_dim, size = dim * kColumns;
  const QueryBlock b{head,
                     q0,
                     std::min(kColumns, head.n_q - q0),
                     scratch,
                     scratch + size,
                     scratch + 2 * size,
                     scratch + 3 * size,
                     scratch + 3 * size + kColumns};
  const int64_t row_0 = head.q_at + q0 * head.q_row;
  ToColumns(b.q_columns, q + row_0, head.q_row, b.n, dim, shape.scale);
  ToColumns(b.dout_columns, dout + row_0, head.q_row, b.n, dim, 1);
  std::fill(b.dq_columns, b.dq_columns + size, 0.0f);
  std::fill(b.lse, b.lse + 2 * kColumns, 0.0f);
  for (int64_t i = 0; i < b.n; ++i) {
    const int64_t row = row_0 + i * head.q_row, at = head.lse_at + (q0 + i) * head.lse_row;
    b.lse[i] = lse[at];
    delta[at] = b.delta[i] = Dot(dout + row, out + row, dim);
  }
  return b;
}

// dq of blocks [first, last) of one key/value head's queries, numbered as in Forward.
void BackwardQueries(float* dq, float* delta, const float* dout, const float* out, const float* lse,
                     const float* q, const float* k, const float* v, const AttentionSegment& seg,
                     const AttentionShape& shape, int64_t head_kv, int64_t first, int64_t last,
                     float* scratch) {
  const D d;
  const int64_t dim = shape.head_dim, group = shape.n_head / shape.n_head_kv;
  float* k_packed = scratch;  // (kTileRows, head_dim), as v_packed
  float* v_packed = k_packed + kTileRows * dim;
  float* scores = v_packed + kTileRows * dim;  // (kTileRows, kColumns), as dp
  float* dp = scores + kTileRows * kColumns;
  float* factor = dp + kTileRows * kColumns;
  float* states = factor + kColumns;

  QueryBlock blocks[kSharedBlocks];
  int64_t n_keys = 0;
  for (int64_t i = first; i < last; ++i) {
    const HeadView head(seg, shape, head_kv * group + i % group);
    float* state = states + (i - first) * backward_state(dim);
    const QueryBlock& b = blocks[i - first] =
        BeginQueries(delta, dout, out, lse, q, head, shape, i / group * kColumns, state);
    n_keys = std::max(n_keys, head.n_visible(b.q0 + b.n - 1));
  }
  for (int64_t j0 = 0; j0 < n_keys; j0 += kTileRows) {
    const HeadView& head = blocks[0].head;
    const int64_t n_packed = std::min(kTileRows, n_keys - j0), kv = head.kv_at + j0 * head.kv_row;
    const Strided k_tile = Pack(k_packed, k + kv, head.kv_row, n_packed, dim);
    const Strided v_tile = Pack(v_packed, v + kv, head.kv_row, n_packed, dim);
    for (int64_t i = 0; i < last - first; ++i) {
      const QueryBlock& b = blocks[i];
      const int64_t n_rows = std::min(n_packed, b.head.n_visible(b.q0 + b.n - 1) - j0);
      if (n_rows <= 0) continue;
      Multiply<Into::set>(scores, k_tile, b.q_columns, n_rows, dim);
      HideLaterKeys(scores, j0, n_rows, b.head.n_visible(b.q0));
      Multiply<Into::set>(dp, v_tile, b.dout_columns, n_rows, dim);
      for (int64_t c = 0; c < kColumns; c += hn::Lanes(d)) {
        const V lse_c = hn::Load(d, b.lse + c), delta_c = hn::Load(d, b.delta + c);
        for (int64_t at = c; at < n_rows * kColumns; at += kColumns) {
          const V p = Exp(d, hn::Sub(hn::Load(d, scores + at), lse_c));
          hn::Store(hn::Mul(p, hn::Sub(hn::Load(d, dp + at), delta_c)), d, scores + at);
        }
      }
      Multiply<Into::add>(b.dq_columns, k_tile.transposed(), scores, dim, n_rows);
    }
  }
  std::fill(factor, factor + kColumns, shape.scale);
  for (int64_t i = 0; i < last - first; ++i) {
    const QueryBlock& b = blocks[i];
    ToRows(dq + b.head.q_at + b.q0 * b.head.q_row, b.head.q_row, b.dq_columns, factor, b.n, dim);
  }
}

// One block of keys, while tiles of queries pass by.
struct KeyBlock {
  int64_t k0, n;                                           // keys k0 .. k0 + n
  float *k_columns, *v_columns, *dk_columns, *dv_columns;  // (head_dim, kColumns)
};

// dk and dv of one key/value head, blocks [first, last) of kColumns keys, over all its query heads.
void BackwardKeys(float* dk, float* dv, const float* delta, const float* dout, const float* lse,
                  const float* q, const float* k, const float* v, const AttentionSegment& seg,
                  const AttentionShape& shape, int64_t head_kv, int64_t first, int64_t last, float* scratch) {
  const D d;
  const int64_t dim = shape.head_dim, group = shape.n_head / shape.n_head_kv, size = dim * kColumns;
  float* q_packed = scratch;  // (kTileRows, head_dim), as dout_packed
  float* dout_packed = q_packed + kTileRows * dim;
  float* p = dout_packed + kTileRows * dim;  // (kTileRows, kColumns), as ds
  float* ds = p + kTileRows * kColumns;
  float* factor = ds + kTileRows * kColumns;
  float* states = factor + kColumns;

  KeyBlock blocks[kSharedBlocks];
  const HeadView view(seg, shape, head_kv * group);
  for (int64_t i = first; i < last; ++i) {
    const int64_t k0 = i * kColumns, n = std::min(kColumns, seg.n_kv - k0),
                  row_0 = view.kv_at + k0 * view.kv_row;
    float* state = states + (i - first) * backward_state(dim);
    blocks[i - first] = {k0, n, state, state + size, state + 2 * size, state + 3 * size};
    ToColumns(state, k + row_0, view.kv_row, n, dim, shape.scale);
    ToColumns(state + size, v + row_0, view.kv_row, n, dim, 1);
    std::fill(state + 2 * size, state + 4 * size, 0.0f);
  }
  // The first query that sees the first of these keys.
  const int64_t begin = std::max<int64_t>(0, first * kColumns - (seg.n_kv - seg.n_q));
  for (int64_t h = head_kv * group; h < (head_kv + 1) * group; ++h) {
    const HeadView head(seg, shape, h);
    for (int64_t i0 = begin; i0 < seg.n_q; i0 += kTileRows) {
      const int64_t n_rows = std::min(kTileRows, seg.n_q - i0), at = head.q_at + i0 * head.q_row;
      const Strided q_tile = Pack(q_packed, q + at, head.q_row, n_rows, dim);
      const Strided dout_tile = Pack(dout_packed, dout + at, head.q_row, n_rows, dim);
      for (int64_t i = 0; i < last - first; ++i) {
        const KeyBlock& b = blocks[i];
        if (head.n_visible(i0 + n_rows - 1) <= b.k0) break;  // nor does any later block
        Multiply<Into::set>(p, q_tile, b.k_columns, n_rows, dim);
        HideLaterColumns(p, n_rows, head.n_visible(i0) - b.k0);
        Multiply<Into::set>(ds, dout_tile, b.v_columns, n_rows, dim);
        for (int64_t r = 0; r < n_rows; ++r) {
          const int64_t row = head.lse_at + (i0 + r) * head.lse_row;
          const V lse_r = hn::Set(d, lse[row]), delta_r = hn::Set(d, delta[row]);
          for (int64_t c = r * kColumns; c < (r + 1) * kColumns; c += hn::Lanes(d)) {
            const V p_c = Exp(d, hn::Sub(hn::Load(d, p + c), lse_r));
            hn::Store(p_c, d, p + c);
            hn::Store(hn::Mul(p_c, hn::Sub(hn::Load(d, ds + c), delta_r)), d, ds + c);
          }
        }
        Multiply<Into::add>(b.dv_columns, dout_tile.transposed(), p, dim, n_rows);
        Multiply<Into::add>(b.dk_columns, q_tile.transposed(), ds, dim, n_rows);
      }
    }
  }
  for (int64_t i = 0; i < last - first; ++i) {
    const KeyBlock& b = blocks[i];
    const int64_t row_0 = view.kv_at + b.k0 * view.kv_row;
    std::fill(factor, factor + kColumns, shape.scale);
    ToRows(dk + row_0, view.kv_row, b.dk_columns, factor, b.n, dim);
    std::fill(factor, factor + kColumns, 1.0f);
    ToRows(dv + row_0, view.kv_row, b.dv_columns, factor, b.n, dim);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#endif
