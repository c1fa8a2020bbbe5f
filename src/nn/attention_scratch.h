// What bodies that call kernels/attention take from the arena for it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/attention/attention.h"
#include "nn/context.h"

namespace lora {

// Keys of the longest segment.
inline int64_t longest(std::span<const AttentionSegment> segments) {
  int64_t n_kv = 0;
  for (const AttentionSegment& s : segments) n_kv = std::max(n_kv, s.n_kv);
  return n_kv;
}

// For segments of at most n_kv keys.
inline std::span<std::byte> attention_scratch(const AttentionShape& shape, int64_t n_kv, bool backward,
                                              NnContext& nn) {
  const int64_t bytes = attention_scratch_bytes(shape, n_kv, backward, nn.input, nn.pool.size());
  return {nn.arena.take<std::byte>(bytes), size_t(bytes)};
}

}  // namespace lora
