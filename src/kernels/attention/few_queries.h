// Attention of a few queries to many keys, as generation asks for: a tile of queries would be mostly empty.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/layout.h"
#include "kernels/attention/passes.h"

namespace lora {

// Below this many, one at a time costs less than a tile.
inline constexpr int64_t kFewQueries = 4;

// Keys whose scores exist at a time.
inline constexpr int64_t kTileRows = 64;

struct FewQueriesScratch {
  float *k, *v, *blocks;  // a tile of decoded keys, of values, and what they are decoded through
  float *max, *sum;       // of every head of the group and query

  FewQueriesScratch(Layout& at, const AttentionShape& shape)
      : k(at.take<float>(kTileRows * shape.head_dim)),
        v(at.take<float>(kTileRows * shape.v_dim())),
        blocks(at.take<float>(KvRows::block_floats(std::max(shape.head_dim, shape.v_dim())))),
        max(at.take<float>(shape.n_head / shape.n_head_kv * kFewQueries)),
        sum(at.take<float>(shape.n_head / shape.n_head_kv * kFewQueries)) {}
};

// All queries of a segment, of the heads of one of n_pieces of head_kv's group; see attention_forward().
void attention_few_queries(const ForwardPass& pass, const AttentionSegment& seg, int64_t head_kv,
                           int64_t piece, int64_t n_pieces, std::byte* scratch);

// Bytes of scratch, a multiple of 64.
int64_t few_queries_bytes(const AttentionShape& shape);

}  // namespace lora
