// The plain form of attention.h: the `scalar` kernel set with T = float, the finite-difference tests with T =
// double.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/elementary.h"
#include "kernels/attention/attention.h"

namespace lora {

template <class T>
T scalar_product_reference(const T* a, const T* b, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// The first key that the segment's query sees.
inline int64_t first_visible_reference(const AttentionSegment& seg, const AttentionShape& shape,
                                       int64_t query) {
  return shape.window > 0 ? std::max<int64_t>(0, seg.n_kv - seg.n_q + query + 1 - shape.window) : 0;
}

// A scaled score as softmax takes it, and its slope.
template <class T>
T capped_reference(T score, const AttentionShape& shape) {
  return shape.softcap > 0 ? T(shape.softcap) * elementary::tanh(score / T(shape.softcap)) : score;
}
template <class T>
T cap_slope_reference(T score, const AttentionShape& shape) {
  const T t = shape.softcap > 0 ? elementary::tanh(score / T(shape.softcap)) : T(0);
  return 1 - t * t;
}

// One query row of one head; `query` counts from the segment's first. lse may be nullptr.
template <class T>
void attention_forward_reference(T* out, T* lse, const T* q, const T* k, const T* v,
                                 const AttentionSegment& seg, const AttentionShape& shape, int64_t head,
                                 int64_t query) {
  const int64_t dim = shape.head_dim, row = shape.n_head_kv * dim, n_visible = seg.n_kv - seg.n_q + query + 1;
  const int64_t v_dim = shape.v_dim(), v_row = shape.n_head_kv * v_dim;
  const int64_t head_kv = head / (shape.n_head / shape.n_head_kv);
  const T* q_i = q + ((seg.q_begin + query) * shape.n_head + head) * dim;
  const T* k_0 = k + seg.kv_begin * row + head_kv * dim;
  const T* v_0 = v + seg.kv_begin * v_row + head_kv * v_dim;
  T* out_i = out + ((seg.q_begin + query) * shape.n_head + head) * v_dim;

  const int64_t first = first_visible_reference(seg, shape, query);
  std::vector<T> p(static_cast<size_t>(n_visible - first));
  for (int64_t j = first; j < n_visible; ++j) {
    p[size_t(j - first)] =
        capped_reference(T(shape.scale) * scalar_product_reference(q_i, k_0 + j * row, dim), shape);
  }
  T max = *std::max_element(p.begin(), p.end()), sum = 0;
  if (shape.sinks) {
    max = std::max(max, T(shape.sinks[head]));
    sum = elementary::exp(T(shape.sinks[head]) - max);
  }
  for (T& p_j : p) sum += p_j = elementary::exp(p_j - max);
  std::fill(out_i, out_i + v_dim, T(0));
  for (int64_t j = first; j < n_visible; ++j) {
    for (int64_t c = 0; c < v_dim; ++c) out_i[c] += p[size_t(j - first)] / sum * v_0[j * v_row + c];
  }
  if (lse) lse[(seg.q_begin + query) * shape.n_head + head] = max + elementary::log(sum);
}

// Keys and values of a cache, decoded row by row into the order of their positions.
template <class T>
void attention_cache_reference(T* out, const T* q, const MatrixView& k, const MatrixView& v,
                               std::span<const AttentionSegment> segments, const AttentionShape& shape) {
  for (const AttentionSegment& s : segments) {
    const auto decoded = [&](const MatrixView& cache, int64_t n_cols) {
      std::vector<float> row(static_cast<size_t>(cache.n_cols));
      std::vector<T> rows;
      for (int64_t j = 0; j < s.n_kv; ++j) {
        decode_row(row.data(), cache, (s.kv_begin + j) % cache.n_rows, 0, cache.n_cols);
        rows.insert(rows.end(), row.begin(), row.begin() + n_cols);
      }
      return rows;
    };
    const std::vector<T> k_rows = decoded(k, k.n_cols), v_rows = decoded(v, shape.n_head_kv * shape.v_dim());
    for (int64_t head = 0; head < shape.n_head; ++head) {
      for (int64_t i = 0; i < s.n_q; ++i) {
        attention_forward_reference<T>(out, nullptr, q, k_rows.data(), v_rows.data(),
                                       {s.q_begin, s.n_q, 0, s.n_kv}, shape, head, i);
      }
    }
  }
}

// One key/value head of one segment with all its query heads.
template <class T>
void attention_backward_reference(T* dq, T* dk, T* dv, const T* dout, const T* out, const T* lse, const T* q,
                                  const T* k, const T* v, const AttentionSegment& seg,
                                  const AttentionShape& shape, int64_t head_kv) {
  const int64_t dim = shape.head_dim, v_dim = shape.v_dim(), group = shape.n_head / shape.n_head_kv;
  const auto kv_row = [&](int64_t j) { return (seg.kv_begin + j) * shape.n_head_kv + head_kv; };
  for (int64_t j = 0; j < seg.n_kv; ++j) {
    std::fill_n(dk + kv_row(j) * dim, dim, T(0));
    std::fill_n(dv + kv_row(j) * v_dim, v_dim, T(0));
  }
  for (int64_t head = head_kv * group; head < (head_kv + 1) * group; ++head) {
    for (int64_t i = 0; i < seg.n_q; ++i) {
      const int64_t row = (seg.q_begin + i) * shape.n_head + head, at = row * dim, out_at = row * v_dim;
      const T delta = scalar_product_reference(dout + out_at, out + out_at, v_dim);
      std::fill(dq + at, dq + at + dim, T(0));
      for (int64_t j = first_visible_reference(seg, shape, i); j <= seg.n_kv - seg.n_q + i; ++j) {
        const int64_t kv = kv_row(j) * dim, v_at = kv_row(j) * v_dim;
        const T score = T(shape.scale) * scalar_product_reference(q + at, k + kv, dim);
        const T p = elementary::exp(capped_reference(score, shape) - lse[row]);
        const T ds = T(shape.scale) * p * (scalar_product_reference(dout + out_at, v + v_at, v_dim) - delta) *
                     cap_slope_reference(score, shape);
        for (int64_t c = 0; c < v_dim; ++c) dv[v_at + c] += p * dout[out_at + c];
        for (int64_t c = 0; c < dim; ++c) {
          dq[at + c] += ds * k[kv + c];
          dk[kv + c] += ds * q[at + c];
        }
      }
    }
  }
}

}  // namespace lora
