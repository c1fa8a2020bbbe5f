// Attention backward: every tile of scores is computed again from q, k and lse, and gives its part to dq, dk
// and dv. Sums run over tiles in ascending order whatever part a task writes, so the bits are the same.
#include "kernels/attention/layout.h"
#include "kernels/attention/passes.h"
#include "kernels/attention/rows.h"

namespace lora {
namespace {

template <class T>
struct BackwardScratch {
  T* rows;  // of one tile of keys
  // Of all tiles of keys.
  T *k_turned, *v_turned, *k_interleaved;
  float *dk, *dv;
  // Of one block of queries.
  T *q_left, *dout_left, *q_interleaved, *dout_interleaved;
  float *dq, *lse, *delta, *ones;
  // Of one tile.
  float *p, *ds, *turned;
  T* left;

  BackwardScratch(Layout& at, const TileShape& s, const TileShape& v, int64_t n_kv) {
    const int64_t n = tiles(n_kv);
    k_turned = at.take<T>(n * s.turned);
    v_turned = at.take<T>(n * v.turned);
    k_interleaved = at.take<T>(n * s.packed);
    dk = at.take<float>(n * s.packed);
    dv = at.take<float>(n * v.packed);
    rows = at.take<T>(std::max(s.packed, v.packed));
    for (T** x : {&q_left, &q_interleaved}) *x = at.take<T>(s.packed);
    for (T** x : {&dout_left, &dout_interleaved}) *x = at.take<T>(v.packed);
    dq = at.take<float>(s.packed);
    for (float** x : {&lse, &delta, &ones}) *x = at.take<float>(kTile);
    for (float** x : {&p, &ds, &turned}) *x = at.take<float>(kTile * kTile);
    left = at.take<T>(kTile * kTile);
  }
};

template <class T>
int64_t bytes(const TileShape& tile, const TileShape& v_tile, int64_t n_kv) {
  Layout layout(nullptr);
  BackwardScratch<T>(layout, tile, v_tile, n_kv);
  return layout.used();
}

template <class T>
const T* as_left_turned(T* left, const float* from, float* turned) {
  turn_tile(turned, from, kTile);
  return as_left(left, turned);
}

}  // namespace

int64_t backward_bytes(const TileShape& tile, const TileShape& v_tile, int64_t n_kv, GemmInput input) {
  return input == GemmInput::f32 ? bytes<float>(tile, v_tile, n_kv) : bytes<bf16>(tile, v_tile, n_kv);
}

template <class T>
void backward_tiles(const BackwardPass& pass, const AttentionSegment& seg, int64_t head_kv, BackwardPart part,
                    int64_t piece, int64_t n_pieces, std::byte* scratch) {
  const TileShape &s = pass.tile, &s_v = pass.v_tile;
  const bool keys = part != BackwardPart::queries, queries = part != BackwardPart::keys;
  const int64_t group = pass.shape.n_head / pass.shape.n_head_kv, n_tiles = tiles(seg.n_kv);
  const int64_t first = keys ? n_tiles * piece / n_pieces : 0;
  const int64_t last = keys ? n_tiles * (piece + 1) / n_pieces : n_tiles;
  Layout layout(scratch);
  const BackwardScratch<T> a(layout, s, s_v, seg.n_kv);
  const HeadView first_head(seg, pass.shape, head_kv * group);
  const auto kv_at = [&](int64_t j) { return first_head.kv_at + j * kTile * first_head.kv_row; };
  const auto v_at = [&](int64_t j) { return first_head.v_at + j * kTile * first_head.v_row; };
  const auto n_keys = [&](int64_t j) { return std::min(kTile, seg.n_kv - j * kTile); };
  // Tiles that the first query's window leaves out are left out by all others too.
  for (int64_t j = std::max(first, first_head.first_visible(0) / kTile); j < last; ++j) {
    const int64_t n = n_keys(j);
    pack_tile(a.rows, pass.v + v_at(j), first_head.v_row, n, 1.0f, s_v);
    turn_packed(a.v_turned + j * s_v.turned, a.rows, s_v);
    pack_tile(a.rows, pass.k + kv_at(j), first_head.kv_row, n, 1.0f, s);
    turn_packed(a.k_turned + j * s.turned, a.rows, s);
    if (queries) interleave_packed(a.k_interleaved + j * s.packed, a.rows, s);
  }
  if (keys) {
    std::fill(a.dk + first * s.packed, a.dk + last * s.packed, 0.0f);
    std::fill(a.dv + first * s_v.packed, a.dv + last * s_v.packed, 0.0f);
  }
  const float scale = pass.shape.scale;
  const int64_t n_blocks = tiles(seg.n_q) * group;
  for (int64_t i = keys ? 0 : piece; i < n_blocks; i += keys ? 1 : n_pieces) {
    const int64_t q0 = i % tiles(seg.n_q) * kTile, n = std::min(kTile, seg.n_q - q0);
    const HeadView head(seg, pass.shape, head_kv * group + i / tiles(seg.n_q));
    const int64_t begin = std::max(first, head.first_visible(q0) / kTile);
    const int64_t end = std::min(last, tiles(head.n_visible(q0 + n - 1)));
    if (end <= begin) continue;
    const int64_t at = head.q_at + q0 * head.q_row, out_at = head.out_at + q0 * head.out_row;
    pack_tile(a.q_left, pass.q + at, head.q_row, n, scale, s);
    pack_tile(a.dout_left, pass.dout + out_at, head.out_row, n, 1.0f, s_v);
    if (keys) {
      interleave_packed(a.q_interleaved, a.q_left, s);
      interleave_packed(a.dout_interleaved, a.dout_left, s_v);
    }
    if (queries) std::fill(a.dq, a.dq + s.packed, 0.0f);
    dot_of_rows(a.delta, pass.dout + out_at, pass.out + out_at, head.out_row, n, s_v.dim);
    for (int64_t r = 0; r < n; ++r) a.lse[r] = pass.lse[head.lse_at + (q0 + r) * head.lse_row];
    for (int64_t j = begin; j < end; ++j) {
      const TileMask mask = head.mask(q0, n, j);
      multiply_scores(a.p, a.q_left, a.k_turned + j * s.turned, mask, s);
      multiply_scores(a.ds, a.dout_left, a.v_turned + j * s_v.turned, mask, s_v);
      gradient_rows(a.p, a.ds, a.lse, a.delta, mask, pass.shape.softcap);
      if (queries) add_over_keys(a.dq, as_left(a.left, a.ds), a.k_interleaved + j * s.packed, mask, s);
      if (keys) {
        add_over_queries(a.dv + j * s_v.packed, as_left_turned(a.left, a.p, a.turned), a.dout_interleaved,
                         mask, s_v);
        add_over_queries(a.dk + j * s.packed, as_left_turned(a.left, a.ds, a.turned), a.q_interleaved, mask,
                         s);
      }
    }
    if (queries) {
      std::fill(a.ones, a.ones + kTile, scale);
      store_rows(pass.dq + at, head.q_row, a.dq, a.ones, n, s);
    }
  }
  std::fill(a.ones, a.ones + kTile, 1.0f);  // q was scaled when it was packed
  for (int64_t j = first; keys && j < last; ++j) {
    store_rows(pass.dk + kv_at(j), first_head.kv_row, a.dk + j * s.packed, a.ones, n_keys(j), s);
    store_rows(pass.dv + v_at(j), first_head.v_row, a.dv + j * s_v.packed, a.ones, n_keys(j), s_v);
  }
}

template void backward_tiles<float>(const BackwardPass&, const AttentionSegment&, int64_t, BackwardPart,
                                    int64_t, int64_t, std::byte*);
template void backward_tiles<bf16>(const BackwardPass&, const AttentionSegment&, int64_t, BackwardPart,
                                   int64_t, int64_t, std::byte*);

}  // namespace lora
