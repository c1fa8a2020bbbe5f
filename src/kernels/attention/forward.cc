// Attention forward: blocks of queries meet tiles of keys and values.

#include "base/elementary.h"
#include "kernels/attention/few_queries.h"
#include "kernels/attention/layout.h"
#include "kernels/attention/passes.h"
#include "kernels/attention/rows.h"

namespace lora {
namespace {

template <class T>
struct ForwardScratch {
  T *k_turned, *v_interleaved;  // of all tiles of keys
  T *rows, *q_left, *p;         // of one tile of keys, of one block of queries, of one tile of scores
  float *scores, *sums;
  float *max, *sum, *factors;  // (kTile)

  ForwardScratch(Layout& at, const TileShape& s, const TileShape& v, int64_t n_kv)
      : k_turned(at.take<T>(tiles(n_kv) * s.turned)),
        v_interleaved(at.take<T>(tiles(n_kv) * v.packed)),
        rows(at.take<T>(std::max(s.packed, v.packed))),
        q_left(at.take<T>(s.packed)),
        p(at.take<T>(kTile * kTile)),
        scores(at.take<float>(kTile * kTile)),
        sums(at.take<float>(std::max(s.packed, v.packed))),
        max(at.take<float>(kTile)),
        sum(at.take<float>(kTile)),
        factors(at.take<float>(kTile)) {}
};

template <class T>
int64_t bytes(const TileShape& tile, const TileShape& v_tile, int64_t n_kv) {
  Layout layout(nullptr);
  ForwardScratch<T>(layout, tile, v_tile, n_kv);
  return layout.used();
}

}  // namespace

int64_t forward_bytes(const TileShape& tile, const TileShape& v_tile, int64_t n_kv, GemmInput input) {
  return input == GemmInput::f32 ? bytes<float>(tile, v_tile, n_kv) : bytes<bf16>(tile, v_tile, n_kv);
}

template <class T>
void forward_blocks(const ForwardPass& pass, const AttentionSegment& seg, int64_t head_kv, int64_t piece,
                    int64_t n_pieces, std::byte* scratch) {
  const TileShape &s = pass.tile, &s_v = pass.v_tile;
  const int64_t group = pass.shape.n_head / pass.shape.n_head_kv, n_blocks = tiles(seg.n_q) * group;
  if (!pass.lse && seg.n_q < kFewQueries) {
    return attention_few_queries(pass, seg, head_kv, piece, n_pieces, scratch);
  }
  Layout layout(scratch);
  const ForwardScratch<T> a(layout, s, s_v, seg.n_kv);
  int64_t n_packed =
      0;  // tiles of keys, as far as they were needed yet; those before the first window are not
  for (int64_t i = piece; i < n_blocks; i += n_pieces) {
    const HeadView head(seg, pass.shape, head_kv * group + i % group);
    const int64_t q0 = i / group * kTile, n = std::min(kTile, seg.n_q - q0);
    const int64_t first = head.first_visible(q0) / kTile, n_tiles = tiles(head.n_visible(q0 + n - 1));
    for (n_packed = std::max(n_packed, first); n_packed < n_tiles; ++n_packed) {
      const int64_t k0 = n_packed * kTile, n_keys = std::min(kTile, seg.n_kv - k0);
      // Decoded into the sums of the block that comes next, and its scores.
      const RowsView k = pass.k.view(seg.kv_begin + k0, n_keys, head_kv, a.sums, a.scores);
      pack_tile(a.rows, k.data, k.row, n_keys, 1.0f, s);
      turn_packed(a.k_turned + n_packed * s.turned, a.rows, s);
      const RowsView v = pass.v_is_k ? k : pass.v.view(seg.kv_begin + k0, n_keys, head_kv, a.sums, a.scores);
      pack_tile(a.rows, v.data, v.row, n_keys, 1.0f, s_v);
      interleave_packed(a.v_interleaved + n_packed * s_v.packed, a.rows, s_v);
    }
    pack_tile(a.q_left, pass.q + head.q_at + q0 * head.q_row, head.q_row, n, pass.shape.scale, s);
    std::fill(a.sums, a.sums + s_v.packed, 0.0f);
    std::fill(a.max, a.max + kTile, head.first_max);
    std::fill(a.sum, a.sum + kTile, head.first_sum);
    for (int64_t j = first; j < n_tiles; ++j) {
      const TileMask mask = head.mask(q0, n, j);
      multiply_scores(a.scores, a.q_left, a.k_turned + j * s.turned, mask, s);
      softmax_rows(a.scores, a.max, a.sum, a.factors, mask, pass.shape.softcap);
      if (j > first) rescale_rows(a.sums, a.factors, n, s_v);
      add_over_keys(a.sums, as_left(a.p, a.scores), a.v_interleaved + j * s_v.packed, mask, s_v);
    }
    for (int64_t r = 0; r < n; ++r) {
      if (pass.lse) pass.lse[head.lse_at + (q0 + r) * head.lse_row] = a.max[r] + elementary::log(a.sum[r]);
      a.factors[r] = 1 / a.sum[r];
    }
    store_rows(pass.out + head.out_at + q0 * head.out_row, head.out_row, a.sums, a.factors, n, s_v);
  }
}

template void forward_blocks<float>(const ForwardPass&, const AttentionSegment&, int64_t, int64_t, int64_t,
                                    std::byte*);
template void forward_blocks<bf16>(const ForwardPass&, const AttentionSegment&, int64_t, int64_t, int64_t,
                                   std::byte*);

}  // namespace lora
