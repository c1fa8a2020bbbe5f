// The plain form of ssd.h, token by token: the `scalar` kernel set with T = float, the finite-difference
// tests with T = double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/elementary.h"
#include "kernels/ssd/ssd.h"

namespace lora {

// ln(1 + exp(x))
template <class T>
T softplus_reference(T x) {
  return std::max(x, T(0)) + elementary::log1p(elementary::exp(-std::fabs(x)));
}

// One head. state: (n_state, head_dim), in and out.
template <class T>
void ssd_forward_reference(T* y, const SsdInputOf<T>& in, const SsdHeadsOf<T>& heads, const SsdShape& s,
                           int64_t n_tokens, int64_t head, T* state) {
  const int64_t dim = s.head_dim, group = head / (s.n_head / s.n_group);
  for (int64_t t = 0; t < n_tokens; ++t) {
    const T* x = in.x + t * in.row + head * dim;
    const T* b = in.b + t * in.row + group * s.n_state;
    const T* c = in.c + t * in.row + group * s.n_state;
    T* y_t = y + (t * s.n_head + head) * dim;
    const T dt = softplus_reference(in.dt[t * in.dt_row + head] + heads.dt_bias[head]);
    const T decay = elementary::exp(dt * heads.a[head]);
    for (int64_t p = 0; p < dim; ++p) y_t[p] = heads.d[head] * x[p];
    for (int64_t n = 0; n < s.n_state; ++n) {
      for (int64_t p = 0; p < dim; ++p) {
        T& h = state[n * dim + p];
        h = decay * h + dt * b[n] * x[p];
        y_t[p] += c[n] * h;
      }
    }
  }
}

// The heads of one group, one after the other. With dh the gradient of the state behind token t,
//
//   dh += C_t dy_t^T,  dC_t += h_t dy_t,  dB_t += dt dh x_t,  dx_t = dt dh^T B_t + d dy_t
//   ddt_t = B_t^T dh x_t + a exp(dt a) <dh, h_{t-1}>,  and before token t:  dh = exp(dt a) dh
template <class T>
void ssd_backward_reference(const SsdGradientOf<T>& g, const T* dy, const SsdInputOf<T>& in,
                            const SsdHeadsOf<T>& heads, const SsdShape& s, int64_t n_tokens, int64_t group) {
  const int64_t dim = s.head_dim, size = s.n_state * dim, in_group = s.n_head / s.n_group;
  for (int64_t t = 0; t < n_tokens; ++t) {
    std::fill_n(g.b + t * g.row + group * s.n_state, s.n_state, T(0));
    std::fill_n(g.c + t * g.row + group * s.n_state, s.n_state, T(0));
  }
  for (int64_t head = group * in_group; head < (group + 1) * in_group; ++head) {
    // states[t]: before token t.
    std::vector<T> states(size_t((n_tokens + 1) * size)), dh(static_cast<size_t>(size));
    std::vector<T> y(size_t(s.n_head * dim));
    for (int64_t t = 0; t < n_tokens; ++t) {
      std::copy_n(&states[size_t(t * size)], size, &states[size_t((t + 1) * size)]);
      const SsdInputOf<T> at{in.x + t * in.row,     in.b + t * in.row, in.c + t * in.row, in.row,
                             in.dt + t * in.dt_row, in.dt_row};
      ssd_forward_reference(y.data(), at, heads, s, 1, head, &states[size_t((t + 1) * size)]);
    }
    for (int64_t t = n_tokens - 1; t >= 0; --t) {
      const T *x = in.x + t * in.row + head * dim, *dy_t = dy + (t * s.n_head + head) * dim;
      const T *b = in.b + t * in.row + group * s.n_state, *c = in.c + t * in.row + group * s.n_state;
      const T *before = &states[size_t(t * size)], *after = before + size;
      T *dx = g.x + t * g.row + head * dim, *db = g.b + t * g.row + group * s.n_state;
      T* dc = g.c + t * g.row + group * s.n_state;
      const T raw = in.dt[t * in.dt_row + head] + heads.dt_bias[head], dt = softplus_reference(raw);
      const T decay = elementary::exp(dt * heads.a[head]);
      T ddt = 0, along_h = 0;
      for (int64_t p = 0; p < dim; ++p) dx[p] = heads.d[head] * dy_t[p];
      for (int64_t n = 0; n < s.n_state; ++n) {
        for (int64_t p = 0; p < dim; ++p) {
          T& dh_np = dh[size_t(n * dim + p)];
          dh_np += c[n] * dy_t[p];
          dc[n] += after[n * dim + p] * dy_t[p];
          db[n] += dt * dh_np * x[p];
          dx[p] += dt * dh_np * b[n];
          ddt += b[n] * dh_np * x[p];
          along_h += dh_np * before[n * dim + p];
          dh_np *= decay;
        }
      }
      ddt += heads.a[head] * decay * along_h;
      g.dt[t * g.dt_row + head] = ddt / (1 + elementary::exp(-raw));
    }
  }
}

}  // namespace lora
