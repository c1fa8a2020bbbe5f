// How attention is cut into tiles, and the forms that its operands are packed into for the micro-kernels of
// gemm/ (kernels/gemm/micro_kernel.h): f32 or bf16, as in every other product.
//
// A tile is kTile queries by kTile keys, a multiple of every kernel's mr, nr and k_step. With S = Q K^T:
//
//                       left operand                 right operand, packed once for all tiles
//   S    (query, key)   Q, times scale               K, turned: lanes are keys
//   O    (query, dim)   P = softmax(S)               V, interleaved: lanes are dims
//   dP   (query, key)   dO                           V, turned
//   dQ   (query, dim)   dS = P (dP - delta)          K, interleaved
//   dV   (key, dim)     P^T                          dO, interleaved
//   dK   (key, dim)     dS^T                         Q, interleaved
//
// (dim of queries and keys and dim of values may differ: each has a TileShape.)
//
// Tiles and micro-tiles that the causal mask or the window leave empty are skipped. 32 heads of 128, 8 of
// keys, on one thread of an AMD Zen 5 with AVX-512 and BF16, in seconds:
//
//                     forward          backward         area that is seen
//   context           4096    8192     4096    8192     4096   8192
//   no window         0.43    1.65     1.02    4.37     1      1
//   window of 1024    0.21    0.46     0.51    1.05     0.44   0.23
//
// A softcap takes 18% more time forward and 3% backward (heads of 256, context 2048).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/half.h"
#include "kernels/attention/attention.h"
#include "kernels/gemm/micro_kernel.h"

namespace lora {

inline constexpr int64_t kTile = 96;

inline int64_t tiles(int64_t n) {
  return ceil_div(n, kTile);
}

// head_dim, or that of values, as the micro-kernel in use needs it.
struct TileShape {
  TileShape(const MicroKernel& k, int64_t head_dim)
      : kernel(k),
        dim(head_dim),
        dim_inner(round_up(head_dim, k.k_step)),
        dim_lanes(round_up(head_dim, k.nr)),
        turned(kTile * dim_inner),
        packed(kTile * dim_lanes) {}

  const MicroKernel& kernel;
  int64_t dim;
  int64_t dim_inner;  // where head_dim is summed over
  int64_t dim_lanes;  // where it lies in lanes
  int64_t turned;     // elements of a tile that is turned
  int64_t packed;     // elements of one as it is packed, and of an interleaved one
};

// The rows and columns of one tile that are not masked: row r sees keys begin + r .. visible + r of it.
struct TileMask {
  int64_t n_rows;   // queries
  int64_t visible;  // keys of this tile that its first query sees; may be negative or beyond kTile
  int64_t begin;    // the first of them that its window leaves; may be negative or beyond kTile
  // Row r sees keys [first_key(r), end_key(r)), none where they meet or cross.
  int64_t first_key(int64_t r) const { return std::clamp<int64_t>(begin + r, 0, kTile); }
  int64_t end_key(int64_t r) const { return std::clamp<int64_t>(visible + r, 0, kTile); }
  // One past the last key that a row of [0, rows) sees.
  int64_t keys(int64_t rows) const { return end_key(std::min(rows, n_rows) - 1); }
  // Rows [first_row(j), end_row(j)) see key j.
  int64_t first_row(int64_t j) const { return std::max<int64_t>(0, j + 1 - visible); }
  int64_t end_row(int64_t j) const { return std::clamp<int64_t>(j + 1 - begin, 0, n_rows); }
};

// One query head of one segment: offsets of its first token, and how far apart tokens are.
struct HeadView {
  HeadView(const AttentionSegment& seg, const AttentionShape& shape, int64_t head)
      : n_q(seg.n_q),
        n_kv(seg.n_kv),
        q_row(shape.n_head * shape.head_dim),
        kv_row(shape.n_head_kv * shape.head_dim),
        out_row(shape.n_head * shape.v_dim()),
        v_row(shape.n_head_kv * shape.v_dim()),
        q_at(seg.q_begin * q_row + head * shape.head_dim),
        kv_at(seg.kv_begin * kv_row + head / (shape.n_head / shape.n_head_kv) * shape.head_dim),
        out_at(seg.q_begin * out_row + head * shape.v_dim()),
        v_at(seg.kv_begin * v_row + head / (shape.n_head / shape.n_head_kv) * shape.v_dim()),
        lse_row(shape.n_head),
        lse_at(seg.q_begin * shape.n_head + head),
        window(shape.window),
        first_max(shape.sinks ? shape.sinks[head] : -std::numeric_limits<float>::infinity()),
        first_sum(shape.sinks ? 1.0f : 0.0f) {}

  int64_t n_q, n_kv;
  int64_t q_row, kv_row, out_row, v_row;  // floats
  int64_t q_at, kv_at, out_at, v_at;      // in q, k, out, v and their gradients
  int64_t lse_row, lse_at;
  int64_t window;
  float first_max, first_sum;  // what softmax begins with: the sink's score, or nothing

  // Query i sees keys [first_visible(i), n_visible(i)).
  int64_t n_visible(int64_t i) const { return n_kv - n_q + i + 1; }
  int64_t first_visible(int64_t i) const {
    return window > 0 ? std::max<int64_t>(0, n_visible(i) - window) : 0;
  }
  // Queries q0 .. q0 + n meet the keys of a tile.
  TileMask mask(int64_t q0, int64_t n, int64_t tile) const {
    const int64_t visible = n_visible(q0) - tile * kTile;
    return {n, visible, window > 0 ? visible - window : -kTile};
  }
};

// T is the kernel's input: float or bf16. A packed tile is (kTile, dim_lanes), a left operand as it is: nr is
// a multiple of k_step, so dim_lanes >= dim_inner. Rows lie `row` floats apart in `from`; those beyond n are
// zero.
template <class T>
void pack_tile(T* to, const float* from, int64_t row, int64_t n, float scale, const TileShape& s);
// A packed tile as the two forms of right operands. (Converted once for these and the left one, a pass takes
// 2 to 5% less time than with a conversion for each.)
template <class T>
void turn_packed(T* to, const T* packed, const TileShape& s);
void interleave_packed(float* to, const float* packed, const TileShape& s);
void interleave_packed(bf16* to, const bf16* packed, const TileShape& s);

// A tile (kTile, kTile) of f32 as a left operand; `left` is where its conversion goes.
const float* as_left(float* left, const float* tile);
const bf16* as_left(bf16* left, const float* tile);

// scores (kTile, kTile) = left rows times turned columns, where the mask leaves any.
template <class T>
void multiply_scores(float* scores, const T* left, const T* turned, const TileMask& mask, const TileShape& s);

// sums ([dim / nr][kTile][nr]) += left (query, key) times interleaved (key, dim).
template <class T>
void add_over_keys(float* sums, const T* left, const T* interleaved, const TileMask& mask,
                   const TileShape& s);
// sums ([dim / nr][kTile][nr]) += left (key, query) times interleaved (query, dim).
template <class T>
void add_over_queries(float* sums, const T* left, const T* interleaved, const TileMask& mask,
                      const TileShape& s);

// Rows of sums as they were added up above, each times a factor, to rows of memory.
void store_rows(float* to, int64_t row, const float* sums, const float* factors, int64_t n,
                const TileShape& s);

}  // namespace lora
