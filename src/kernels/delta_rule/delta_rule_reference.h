// The plain form of delta_rule.h, token by token: the `scalar` kernel set with T = float, the
// finite-difference tests with T = double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/elementary.h"
#include "kernels/delta_rule/delta_rule.h"

namespace lora {

// to = factor x / sqrt(x . x + eps). Returns 1 / sqrt(x . x + eps).
template <class T>
T unit_reference(T* to, const T* x, int64_t n, T eps, T factor) {
  T sum = eps;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const T r = 1 / std::sqrt(sum);
  for (int64_t i = 0; i < n; ++i) to[i] = factor * r * x[i];
  return r;
}
// dx of that, from x and dy.
template <class T>
void unit_backward_reference(T* dx, const T* x, const T* dy, int64_t n, T eps, T factor) {
  std::vector<T> y(static_cast<size_t>(n));
  const T r = unit_reference(y.data(), x, n, eps, T(1));
  T along = 0;
  for (int64_t i = 0; i < n; ++i) along += y[size_t(i)] * dy[i];
  for (int64_t i = 0; i < n; ++i) dx[i] = factor * r * (dy[i] - y[size_t(i)] * along);
}

// One token of one value head; state (dim_k, dim_v) becomes the one behind it. out may be nullptr.
template <class T>
void delta_rule_token_reference(T* out, T* state, const DeltaRuleRows<T>& in, const DeltaRuleShape& shape,
                                int64_t head_k, int64_t head_v, int64_t t) {
  const int64_t n_k = shape.dim_k, n_v = shape.dim_v;
  std::vector<T> q(static_cast<size_t>(n_k)), k(static_cast<size_t>(n_k)), d(static_cast<size_t>(n_v));
  unit_reference(q.data(), in.q + t * in.row + head_k * n_k, n_k, T(shape.eps), T(shape.scale));
  unit_reference(k.data(), in.k + t * in.row + head_k * n_k, n_k, T(shape.eps), T(1));
  const T decay = elementary::exp(in.g[t * shape.n_head_v + head_v]),
          beta = in.beta[t * shape.n_head_v + head_v];
  for (int64_t c = 0; c < n_v; ++c) {
    T found = 0;
    for (int64_t i = 0; i < n_k; ++i) found += k[size_t(i)] * (state[i * n_v + c] *= decay);
    d[size_t(c)] = beta * (in.v[t * in.row + head_v * n_v + c] - found);
  }
  for (int64_t i = 0; i < n_k; ++i) {
    for (int64_t c = 0; c < n_v; ++c) state[i * n_v + c] += k[size_t(i)] * d[size_t(c)];
  }
  if (!out) return;
  for (int64_t c = 0; c < n_v; ++c) {
    T sum = 0;
    for (int64_t i = 0; i < n_k; ++i) sum += q[size_t(i)] * state[i * n_v + c];
    out[(t * shape.n_head_v + head_v) * n_v + c] = sum;
  }
}

// Tokens begin .. begin + n of all value heads of a key head, each from its state (group, dim_k, dim_v).
template <class T>
void delta_rule_forward_reference(T* out, T* states, const DeltaRuleRows<T>& in, const DeltaRuleShape& shape,
                                  int64_t head_k, int64_t begin, int64_t n) {
  for (int64_t i = 0; i < shape.group(); ++i) {
    for (int64_t t = begin; t < begin + n; ++t) {
      delta_rule_token_reference(out, states + i * shape.state_size(), in, shape, head_k,
                                 shape.value_head(head_k, i), t);
    }
  }
}

// A segment of all value heads of a key head. With S' = exp(g) S_before, y = v - S'^T k, d = beta y, and dS
// the gradient of the state behind a token:
//
//   dS += q dout^T,  dd = dS^T k,  dbeta = dd . y,  dv = beta dd
//   dq = S dout,  dk = dS d - beta S' dd,  dS' = dS - k (beta dd)^T,  dg = <dS', S'>,  dS_before = exp(g) dS'
template <class T>
void delta_rule_backward_reference(const DeltaRuleGradients<T>& to, const T* dout, const DeltaRuleRows<T>& in,
                                   const DeltaRuleShape& shape, int64_t head_k, int64_t begin, int64_t n) {
  const int64_t n_k = shape.dim_k, n_v = shape.dim_v, size = shape.state_size();
  std::vector<T> dq(size_t(n * n_k)), dk(size_t(n * n_k));
  for (int64_t i = 0; i < shape.group(); ++i) {
    const int64_t head_v = shape.value_head(head_k, i);
    std::vector<T> states(size_t((n + 1) * size)), ds(static_cast<size_t>(size)), q(static_cast<size_t>(n_k)),
        k(static_cast<size_t>(n_k)), y(static_cast<size_t>(n_v)), dd(static_cast<size_t>(n_v));
    for (int64_t t = 0; t < n; ++t) {
      std::copy_n(&states[size_t(t * size)], size, &states[size_t((t + 1) * size)]);
      delta_rule_token_reference<T>(nullptr, &states[size_t((t + 1) * size)], in, shape, head_k, head_v,
                                    begin + t);
    }
    for (int64_t t = n; t-- > 0;) {
      const int64_t at = begin + t, gate = at * shape.n_head_v + head_v;
      unit_reference(q.data(), in.q + at * in.row + head_k * n_k, n_k, T(shape.eps), T(shape.scale));
      unit_reference(k.data(), in.k + at * in.row + head_k * n_k, n_k, T(shape.eps), T(1));
      const T decay = elementary::exp(in.g[gate]), beta = in.beta[gate];
      const T *before = &states[size_t(t * size)], *after = before + size, *dy = dout + gate * n_v;
      const T* v = in.v + at * in.row + head_v * n_v;
      T dbeta = 0, dg = 0;
      for (int64_t c = 0; c < n_v; ++c) {
        T found = 0, sum = 0;
        for (int64_t j = 0; j < n_k; ++j) {
          found += k[size_t(j)] * decay * before[j * n_v + c];
          sum += k[size_t(j)] * (ds[size_t(j * n_v + c)] += q[size_t(j)] * dy[c]);
        }
        y[size_t(c)] = v[c] - found;
        dd[size_t(c)] = sum;
        dbeta += sum * y[size_t(c)];
      }
      for (int64_t j = 0; j < n_k; ++j) {
        T sum_q = 0, sum_k = 0;
        for (int64_t c = 0; c < n_v; ++c) {
          T& d = ds[size_t(j * n_v + c)];
          const T decayed = decay * before[j * n_v + c];
          sum_q += after[j * n_v + c] * dy[c];
          sum_k += beta * (d * y[size_t(c)] - decayed * dd[size_t(c)]);
          d -= k[size_t(j)] * beta * dd[size_t(c)];
          dg += d * decayed;
          d *= decay;
        }
        dq[size_t(t * n_k + j)] += sum_q;
        dk[size_t(t * n_k + j)] += sum_k;
      }
      for (int64_t c = 0; c < n_v; ++c) to.dv[at * in.row + head_v * n_v + c] = beta * dd[size_t(c)];
      to.dg[gate] = dg;
      to.dbeta[gate] = dbeta;
    }
  }
  for (int64_t t = 0; t < n; ++t) {
    const int64_t at = (begin + t) * in.row + head_k * n_k;
    unit_backward_reference(to.dq + at, in.q + at, &dq[size_t(t * n_k)], n_k, T(shape.eps), T(shape.scale));
    unit_backward_reference(to.dk + at, in.k + at, &dk[size_t(t * n_k)], n_k, T(shape.eps), T(1));
  }
}

}  // namespace lora
