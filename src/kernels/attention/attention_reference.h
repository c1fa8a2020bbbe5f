// The plain form of attention.h: the `scalar` kernel set with T = float, the finite-difference tests with T =
// double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/attention/attention.h"

namespace lora {

template <class T>
T dot_reference(const T* a, const T* b, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// One query row of one head; `query` counts from the segment's first. lse may be nullptr.
template <class T>
void attention_forward_reference(T* out, T* lse, const T* q, const T* k, const T* v,
                                 const AttentionSegment& seg, const AttentionShape& shape, int64_t head,
                                 int64_t query) {
  const int64_t dim = shape.head_dim, row = shape.n_head_kv * dim, n_visible = seg.n_kv - seg.n_q + query + 1;
  const int64_t head_kv = head / (shape.n_head / shape.n_head_kv);
  const T* q_i = q + ((seg.q_begin + query) * shape.n_head + head) * dim;
  const T* k_0 = k + seg.kv_begin * row + head_kv * dim;
  const T* v_0 = v + seg.kv_begin * row + head_kv * dim;
  T* out_i = out + ((seg.q_begin + query) * shape.n_head + head) * dim;

  std::vector<T> p(static_cast<size_t>(n_visible));
  for (int64_t j = 0; j < n_visible; ++j)
    p[size_t(j)] = T(shape.scale) * dot_reference(q_i, k_0 + j * row, dim);
  const T max = *std::max_element(p.begin(), p.end());
  T sum = 0;
  for (T& p_j : p) sum += p_j = std::exp(p_j - max);
  std::fill(out_i, out_i + dim, T(0));
  for (int64_t j = 0; j < n_visible; ++j) {
    for (int64_t c = 0; c < dim; ++c) out_i[c] += p[size_t(j)] / sum * v_0[j * row + c];
  }
  if (lse) lse[(seg.q_begin + query) * shape.n_head + head] = max + std::log(sum);
}

// One key/value head of one segment with all its query heads.
template <class T>
void attention_backward_reference(T* dq, T* dk, T* dv, const T* dout, const T* out, const T* lse, const T* q,
                                  const T* k, const T* v, const AttentionSegment& seg,
                                  const AttentionShape& shape, int64_t head_kv) {
  const int64_t dim = shape.head_dim, group = shape.n_head / shape.n_head_kv;
  const auto kv_at = [&](int64_t j) { return ((seg.kv_begin + j) * shape.n_head_kv + head_kv) * dim; };
  for (int64_t j = 0; j < seg.n_kv; ++j) {
    std::fill(dk + kv_at(j), dk + kv_at(j) + dim, T(0));
    std::fill(dv + kv_at(j), dv + kv_at(j) + dim, T(0));
  }
  for (int64_t head = head_kv * group; head < (head_kv + 1) * group; ++head) {
    for (int64_t i = 0; i < seg.n_q; ++i) {
      const int64_t row = (seg.q_begin + i) * shape.n_head + head, at = row * dim;
      const T delta = dot_reference(dout + at, out + at, dim);
      std::fill(dq + at, dq + at + dim, T(0));
      for (int64_t j = 0; j <= seg.n_kv - seg.n_q + i; ++j) {
        const int64_t kv = kv_at(j);
        const T p = std::exp(T(shape.scale) * dot_reference(q + at, k + kv, dim) - lse[row]);
        const T ds = T(shape.scale) * p * (dot_reference(dout + at, v + kv, dim) - delta);
        for (int64_t c = 0; c < dim; ++c) {
          dv[kv + c] += p * dout[at + c];
          dq[at + c] += ds * k[kv + c];
          dk[kv + c] += ds * q[at + c];
        }
      }
    }
  }
}

}  // namespace lora
