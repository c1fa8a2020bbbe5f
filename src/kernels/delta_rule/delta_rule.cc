#include "kernels/delta_rule/delta_rule.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/delta_rule/delta_rule_reference.h"
#include "kernels/delta_rule/passes.h"
#include "kernels/isa.h"

namespace lora {
namespace {

// From here on chunks are faster than tokens one by one.
constexpr int64_t kFewTokens = 8;

std::byte* checked(std::span<std::byte> scratch, const DeltaRuleShape& shape, bool backward,
                   const ThreadPool& pool) {
  const int64_t needed = delta_rule_scratch_bytes(shape, backward, pool.size());
  if (int64_t(scratch.size()) < needed)
    fail("delta rule: scratch of {} bytes, {} are needed", scratch.size(), needed);
  return scratch.data();
}

// run(segment, key head, worker) for all that have tokens.
template <class Run>
void for_each_head(std::span<const AttentionSegment> segments, const DeltaRuleShape& shape, ThreadPool& pool,
                   const Run& run) {
  pool.run(int64_t(segments.size()) * shape.n_head_k, [&](int64_t task, int worker) {
    const AttentionSegment& segment = segments[size_t(task / shape.n_head_k)];
    if (segment.n_q > 0) run(segment, task % shape.n_head_k, worker);
  });
}

}  // namespace

int64_t delta_rule_kept_size(const DeltaRuleShape& shape, int64_t n_tokens) {
  return std::max<int64_t>(0, n_tokens - 1) / kDeltaSpan * shape.n_head_v * shape.state_size();
}

int64_t delta_rule_scratch_bytes(const DeltaRuleShape& shape, bool backward, int n_workers) {
  return n_workers * (backward ? delta_backward_bytes(shape) : delta_forward_bytes(shape));
}

void delta_rule_forward(float* out, float* kept, const DeltaRuleInput& in,
                        std::span<const AttentionSegment> segments, const DeltaRuleShape& shape,
                        std::span<std::byte> scratch, ThreadPool& pool) {
  std::byte* memory = checked(scratch, shape, false, pool);
  const int64_t bytes = delta_forward_bytes(shape), size = shape.group() * shape.state_size();
  for_each_head(segments, shape, pool, [&](const AttentionSegment& s, int64_t head_k, int worker) {
    auto* states = reinterpret_cast<float*>(memory + worker * bytes);
    std::fill_n(states, size, 0.0f);
    if (isa() == Isa::scalar)
      return delta_rule_forward_reference(out, states, in, shape, head_k, s.q_begin, s.n_q);
    delta_forward({out, kept, states, shape.state_size(), in, shape}, head_k, s.q_begin, s.n_q,
                  memory + worker * bytes);
  });
}

void delta_rule_append(float* out, float* states, const DeltaRuleInput& in, int64_t n_tokens,
                       const DeltaRuleShape& shape, std::span<std::byte> scratch, ThreadPool& pool) {
  std::byte* memory = checked(scratch, shape, false, pool);
  const int64_t bytes = delta_forward_bytes(shape), size = shape.state_size();
  if (isa() == Isa::scalar || n_tokens < kFewTokens) {
    return pool.run(shape.n_head_v, [&](int64_t task, int worker) {
      const int64_t head_k = task / shape.group(), head_v = shape.value_head(head_k, task % shape.group());
      if (isa() != Isa::scalar) {
        return delta_tokens(out, states + head_v * size, in, shape, head_k, head_v, n_tokens,
                            memory + worker * bytes);
      }
      for (int64_t t = 0; t < n_tokens; ++t)
        delta_rule_token_reference(out, states + head_v * size, in, shape, head_k, head_v, t);
    });
  }
  const int64_t between = shape.value_head(0, shape.group() > 1 ? 1 : 0) * size;
  pool.run(shape.n_head_k, [&](int64_t head_k, int worker) {
    delta_forward({out, nullptr, states + shape.value_head(head_k, 0) * size, between, in, shape}, head_k, 0,
                  n_tokens, memory + worker * bytes);
  });
}

void delta_rule_backward(const DeltaRuleGradients<float>& to, const float* dout, const float* out,
                         const float* kept, const DeltaRuleInput& in,
                         std::span<const AttentionSegment> segments, const DeltaRuleShape& shape,
                         std::span<std::byte> scratch, ThreadPool& pool) {
  std::byte* memory = checked(scratch, shape, true, pool);
  const int64_t bytes = delta_backward_bytes(shape);
  for_each_head(segments, shape, pool, [&](const AttentionSegment& s, int64_t head_k, int worker) {
    if (isa() == Isa::scalar)
      return delta_rule_backward_reference(to, dout, in, shape, head_k, s.q_begin, s.n_q);
    delta_backward({to, dout, out, kept, in, shape}, head_k, s.q_begin, s.n_q, memory + worker * bytes);
  });
}

}  // namespace lora
