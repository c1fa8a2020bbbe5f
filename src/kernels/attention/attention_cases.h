// What the tests of attention share: calls with their scratch, the plain version over all segments, and what
// rounding costs.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "kernels/attention/attention_reference.h"
#include "kernels/isa.h"
#include "kernels/test_numbers.h"

namespace lora::attention_test {

using test::kEpsilon;
using Segments = std::vector<AttentionSegment>;

struct Case {
  const char* name;
  int64_t n_head, n_head_kv, head_dim;
  Segments segments;
  int64_t value_dim = 0;
};

inline constexpr GemmInput kInputs[] = {GemmInput::f32, GemmInput::bf16};

// Filled with numbers that must not reach any result.
inline Buffer<std::byte> scratch_for(const Segments& segments, const AttentionShape& shape, bool backward,
                                     GemmInput input, const ThreadPool& pool) {
  int64_t n_kv = 0;
  for (const AttentionSegment& s : segments) n_kv = std::max(n_kv, s.n_kv);
  Buffer<std::byte> result(attention_scratch_bytes(shape, n_kv, backward, input, pool.size()));
  std::fill(result.data(), result.data() + result.size(), std::byte{0xff});  // NaN
  return result;
}

inline void forward(float* out, float* lse, const float* q, const float* k, const float* v,
                    const Segments& segments, const AttentionShape& shape, ThreadPool& pool,
                    GemmInput input = GemmInput::f32) {
  auto scratch = scratch_for(segments, shape, false, input, pool);
  attention_forward(out, lse, q, k, v, segments, shape, input, scratch.span(), pool);
}

inline void backward(float* dq, float* dk, float* dv, const float* dout, const float* out, const float* lse,
                     const float* q, const float* k, const float* v, const Segments& segments,
                     const AttentionShape& shape, ThreadPool& pool, GemmInput input = GemmInput::f32) {
  auto scratch = scratch_for(segments, shape, true, input, pool);
  attention_backward(dq, dk, dv, dout, out, lse, q, k, v, segments, shape, input, scratch.span(), pool);
}

// Training segments of the given lengths, one behind the other.
inline Segments packed(const std::vector<int64_t>& lengths) {
  Segments result;
  int64_t begin = 0;
  for (int64_t n : lengths) {
    result.push_back({begin, n, begin, n});
    begin += n;
  }
  return result;
}

struct Problem {
  explicit Problem(const Case& c)
      : shape{c.n_head, c.n_head_kv, c.head_dim, 1 / std::sqrt(float(c.head_dim))} {
    for (const AttentionSegment& s : c.segments) {
      n_tokens = std::max(n_tokens, s.q_begin + s.n_q);
      n_kv_tokens = std::max(n_kv_tokens, s.kv_begin + s.n_kv);
    }
    shape.value_dim = c.value_dim;
    q_size = n_tokens * c.n_head * c.head_dim;
    kv_size = n_kv_tokens * c.n_head_kv * c.head_dim;
    out_size = n_tokens * c.n_head * shape.v_dim();
    v_size = n_kv_tokens * c.n_head_kv * shape.v_dim();
  }
  AttentionShape shape;
  int64_t n_tokens = 0, n_kv_tokens = 0, q_size = 0, kv_size = 0;  // numbers of q, of k,
  int64_t out_size = 0, v_size = 0;                                // of out and of v
};

template <class T>
void reference_forward(std::vector<T>& out, std::vector<T>& lse, const std::vector<T>& q,
                       const std::vector<T>& k, const std::vector<T>& v, const Segments& segments,
                       const AttentionShape& shape) {
  for (const AttentionSegment& s : segments) {
    for (int64_t head = 0; head < shape.n_head; ++head) {
      for (int64_t i = 0; i < s.n_q; ++i) {
        attention_forward_reference(out.data(), lse.data(), q.data(), k.data(), v.data(), s, shape, head, i);
      }
    }
  }
}

template <class T>
void reference_backward(std::vector<T>& dq, std::vector<T>& dk, std::vector<T>& dv,
                        const std::vector<T>& dout, const std::vector<T>& out, const std::vector<T>& lse,
                        const std::vector<T>& q, const std::vector<T>& k, const std::vector<T>& v,
                        const Segments& segments, const AttentionShape& shape) {
  for (const AttentionSegment& s : segments) {
    for (int64_t head = 0; head < shape.n_head_kv; ++head) {
      attention_backward_reference(dq.data(), dk.data(), dv.data(), dout.data(), out.data(), lse.data(),
                                   q.data(), k.data(), v.data(), s, shape, head);
    }
  }
}

// q and k below 2, so that scores reach several units and the softmax is far from flat.
inline constexpr double kRange = 2;

// A score is a sum of head_dim products below 4 times the scale: its rounding error moves a
// probability by this share. Sums of probabilities over n keys add little: they are taken tile by tile.
inline double score_error(const AttentionShape& shape, GemmInput input) {
  // bf16 rounds q, k, v, the probabilities and gradients to 8 bits; errors of a score's products are
  // independent. The scalar set computes in f32 whatever the input.
  if (input == GemmInput::bf16 && isa() != Isa::scalar) return (kRange * kRange + 2) / 256;
  return kRange * kRange * std::sqrt(double(shape.head_dim)) * 4 * kEpsilon + 16 * kEpsilon;
}

}  // namespace lora::attention_test
