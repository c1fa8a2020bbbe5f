// Attention of one key/value head of one segment: what a task computes. See tile.h for the products.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/kv_rows.h"
#include "kernels/attention/tile.h"

namespace lora {

// The arrays of attention_forward().
struct ForwardPass {
  float *out, *lse;
  const float* q;
  KvRows k, v;
  const AttentionShape& shape;
  TileShape tile, v_tile;  // of keys, of values
  bool v_is_k;             // values are the first numbers of keys
};

// Blocks of kTile queries of the head's group, numbered block * group + head: those of one of n_pieces.
template <class T>
void forward_blocks(const ForwardPass& pass, const AttentionSegment& seg, int64_t head_kv, int64_t piece,
                    int64_t n_pieces, std::byte* scratch);

// The arrays of attention_backward().
struct BackwardPass {
  float *dq, *dk, *dv;
  const float *dout, *out, *lse;
  const float *q, *k, *v;
  const AttentionShape& shape;
  TileShape tile, v_tile;
};

// What a task writes: dq of a piece of the queries, dk and dv of a piece of the keys, or all of the head at
// once.
enum class BackwardPart { all, queries, keys };

template <class T>
void backward_tiles(const BackwardPass& pass, const AttentionSegment& seg, int64_t head_kv, BackwardPart part,
                    int64_t piece, int64_t n_pieces, std::byte* scratch);

// Bytes of scratch, a multiple of 64.
int64_t forward_bytes(const TileShape& tile, const TileShape& v_tile, int64_t n_kv, GemmInput input);
int64_t backward_bytes(const TileShape& tile, const TileShape& v_tile, int64_t n_kv, GemmInput input);

}  // namespace lora
