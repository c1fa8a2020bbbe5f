// How attention is cut into tiles and tasks, and where in memory one head of one segment lies.
#pragma once

#include <cstdint>

#include "kernels/attention/attention.h"

namespace lora {

constexpr int64_t kColumns = 32;  // of a tile: queries or keys in lanes; at least two vectors of every target
constexpr int64_t kTileRows = 64;
// Blocks of columns that a task takes through the same packed tiles of rows. Packing was a fifth of the
// time for one block alone.
constexpr int64_t kSharedBlocks = 4;

// Floats of one block: q and out as columns, maximum and sum; backward at most four matrices of columns.
constexpr int64_t forward_state(int64_t head_dim) {
  return (2 * head_dim + 2) * kColumns;
}
constexpr int64_t backward_state(int64_t head_dim) {
  return (4 * head_dim + 2) * kColumns;
}

// Floats of one worker: two packed tiles, one tile of scores (two backward), a factor per column, the blocks.
constexpr int64_t forward_scratch(int64_t head_dim) {
  return 2 * kTileRows * head_dim + (kTileRows + 1) * kColumns + kSharedBlocks * forward_state(head_dim);
}
constexpr int64_t backward_scratch(int64_t head_dim) {
  return 2 * kTileRows * head_dim + (2 * kTileRows + 1) * kColumns + kSharedBlocks * backward_state(head_dim);
}

// One query head of one segment: offsets of its first token, and how far apart tokens are.
struct HeadView {
  HeadView() = default;
  HeadView(const AttentionSegment& seg, const AttentionShape& shape, int64_t head)
      : n_q(seg.n_q),
        n_kv(seg.n_kv),
        q_row(shape.n_head * shape.head_dim),
        kv_row(shape.n_head_kv * shape.head_dim),
        q_at(seg.q_begin * q_row + head * shape.head_dim),
        kv_at(seg.kv_begin * kv_row + head / (shape.n_head / shape.n_head_kv) * shape.head_dim),
        lse_row(shape.n_head),
        lse_at(seg.q_begin * shape.n_head + head) {}

  int64_t n_q = 0, n_kv = 0;
  int64_t q_row = 0, kv_row = 0;  // floats
  int64_t q_at = 0, kv_at = 0;    // in q, out and their gradients; in k, v and theirs
  int64_t lse_row = 0, lse_at = 0;

  // Keys that query i sees, its own included.
  int64_t n_visible(int64_t i) const { return n_kv - n_q + i + 1; }
};

}  // namespace lora
