// Attention of a few queries to many keys, as generation asks for: a tile of queries would be mostly empty.
#pragma once

#include <cstdint>

#include "kernels/attention/tile.h"

namespace lora {

// Below this many, one at a time costs less than a tile.
inline constexpr int64_t kFewQueries = 4;

// All queries of one head; see attention_forward().
void attention_few_queries(float* out, const float* q, const float* k, const float* v, const HeadView& head,
                           const AttentionShape& shape);

}  // namespace lora
