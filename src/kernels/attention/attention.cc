#include "kernels/attention/attention.h"

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <vector>

#include "kernels/attention/attention_reference.h"
#include "kernels/attention/tile.h"
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention/backward-inl.h"
#include "kernels/attention/forward-inl.h"

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(Forward);
HWY_EXPORT(BackwardQueries);
HWY_EXPORT(BackwardKeys);

int64_t blocks(int64_t n) {
  return (n + kColumns - 1) / kColumns;
}

// Runs body(segment, head_kv, first, last, worker) so that [first, last) covers the n_blocks(segment) blocks
// of every segment and key/value head, kSharedBlocks at a time. A head's tasks follow each other, so that its
// keys and values stay in the cache, those with most work first, so that threads finish together.
template <class Count, class Body>
void for_each_task(std::span<const AttentionSegment> segments, const AttentionShape& shape, bool last_first,
                   ThreadPool& pool, const Count& n_blocks, const Body& body) {
  // A single query, as in generation: nothing is packed, and heads are all there is to share out.
  const auto shared = [](const AttentionSegment& s) { return s.n_q == 1 ? 1 : kSharedBlocks; };
  const auto pieces = [&](const AttentionSegment& s) { return (n_blocks(s) + shared(s) - 1) / shared(s); };
  std::vector<int64_t> end;  // tasks of the segments up to this one
  int64_t n_tasks = 0;
  for (const AttentionSegment& s : segments) end.push_back(n_tasks += pieces(s) * shape.n_head_kv);
  pool.run(n_tasks, [&](int64_t task, int worker) {
    const auto at = size_t(std::upper_bound(end.begin(), end.end(), task) - end.begin());
    const AttentionSegment& s = segments[at];
    const int64_t n = pieces(s), i = task - (end[at] - n * shape.n_head_kv);
    const int64_t first = (last_first ? n - 1 - i % n : i % n) * shared(s);
    body(s, i / n, first, std::min(n_blocks(s), first + shared(s)), worker);
  });
}

}  // namespace

void attention_forward(float* out, float* lse, const float* q, const float* k, const float* v,
                       std::span<const AttentionSegment> segments, const AttentionShape& shape,
                       ThreadPool& pool) {
  if (isa() == Isa::scalar) {
    return pool.run(int64_t(segments.size()) * shape.n_head, [&](int64_t task, int) {
      const AttentionSegment& s = segments[size_t(task / shape.n_head)];
      for (int64_t i = 0; i < s.n_q; ++i) {
        attention_forward_reference(out, lse, q, k, v, s, shape, task % shape.n_head, i);
      }
    });
  }
  const int64_t size = forward_scratch(shape.head_dim), group = shape.n_head / shape.n_head_kv;
  const auto scratch = hwy::AllocateAligned<float>(size_t(size * pool.size()));
  for_each_task(
      segments, shape, true, pool, [&](const AttentionSegment& s) { return blocks(s.n_q) * group; },
      [&](const AttentionSegment& s, int64_t head_kv, int64_t first, int64_t last, int worker) {
        HWY_DYNAMIC_DISPATCH(Forward)
        (out, lse, q, k, v, s, shape, head_kv, first, last, scratch.get() + worker * size);
      });
}

void attention_backward(float* dq, float* dk, float* dv, const float* dout, const float* out,
                        const float* lse, const float* q, const float* k, const float* v,
                        std::span<const AttentionSegment> segments, const AttentionShape& shape,
                        ThreadPool& pool) {
  if (isa() == Isa::scalar) {
    return pool.run(int64_t(segments.size()) * shape.n_head_kv, [&](int64_t task, int) {
      attention_backward_reference(dq, dk, dv, dout, out, lse, q, k, v,
                                   segments[size_t(task / shape.n_head_kv)], shape, task % shape.n_head_kv);
    });
  }
  int64_t n_tokens = 0;
  for (const AttentionSegment& s : segments) n_tokens = std::max(n_tokens, s.q_begin + s.n_q);
  const int64_t size = backward_scratch(shape.head_dim), group = shape.n_head / shape.n_head_kv;
  const auto scratch = hwy::AllocateAligned<float>(size_t(size * pool.size()));
  const auto delta = hwy::AllocateAligned<float>(size_t(n_tokens * shape.n_head));

  for_each_task(
      segments, shape, true, pool, [&](const AttentionSegment& s) { return blocks(s.n_q) * group; },
      [&](const AttentionSegment& s, int64_t head_kv, int64_t first, int64_t last, int worker) {
        HWY_DYNAMIC_DISPATCH(BackwardQueries)
        (dq, delta.get(), dout, out, lse, q, k, v, s, shape, head_kv, first, last,
         scratch.get() + worker * size);
      });
  for_each_task(
      segments, shape, false, pool, [](const AttentionSegment& s) { return blocks(s.n_kv); },
      [&](const AttentionSegment& s, int64_t head_kv, int64_t first, int64_t last, int worker) {
        HWY_DYNAMIC_DISPATCH(BackwardKeys)
        (dk, dv, delta.get(), dout, lse, q, k, v, s, shape, head_kv, first, last,
         scratch.get() + worker * size);
      });
}

int64_t attention_forward_scratch_bytes(const AttentionShape& shape, int n_workers) {
  return int64_t(sizeof(float)) * n_workers * forward_scratch(shape.head_dim);
}

int64_t attention_backward_scratch_bytes(const AttentionShape& shape, int64_t n_tokens, int n_workers) {
  return int64_t(sizeof(float)) * (n_workers * backward_scratch(shape.head_dim) + n_tokens * shape.n_head);
}

}  // namespace lora
#endif  // HWY_ONCE
