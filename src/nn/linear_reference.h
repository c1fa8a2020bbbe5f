// The linear layer with one adapter as plain loops over decoded weights, in float or double: the
// specification of linear.h and embedding.h, backward under forward.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/gemm/gemm_reference.h"

namespace lora {

template <class T>
struct LinearReference {
  int64_t n_in, n_out, rank;
  T scale;
  std::vector<T> w, a, b;  // (n_out, n_in), (rank, n_in), (n_out, rank)
};

// y = x W^T + scale (x A^T) B^T
template <class T>
std::vector<T> linear_forward_reference(const LinearReference<T>& l, const std::vector<T>& x,
                                        int64_t n_tokens) {
  std::vector<T> y(size_t(n_tokens * l.n_out)), xa(size_t(n_tokens * l.rank));
  gemm_forward_reference(y.data(), x.data(), l.w.data(), n_tokens, l.n_out, l.n_in);
  gemm_forward_reference(xa.data(), x.data(), l.a.data(), n_tokens, l.rank, l.n_in);
  for (T& value : xa) value *= l.scale;
  gemm_forward_reference(y.data(), xa.data(), l.b.data(), n_tokens, l.n_out, l.rank);
  return y;
}

template <class T>
struct LinearGradients {
  std::vector<T> x, a, b;
};

// dx = dy W + scale (dy B) A,   dA = scale (dy B)^T x,   dB = scale dy^T (x A^T)
template <class T>
LinearGradients<T> linear_backward_reference(const LinearReference<T>& l, const std::vector<T>& x,
                                             const std::vector<T>& dy, int64_t n_tokens) {
  LinearGradients<T> d{std::vector<T>(x.size()), std::vector<T>(l.a.size()), std::vector<T>(l.b.size())};
  std::vector<T> dxa(size_t(n_tokens * l.rank)), xa(dxa.size());
  gemm_input_gradient_reference(dxa.data(), dy.data(), l.b.data(), n_tokens, l.n_out, l.rank);
  gemm_forward_reference(xa.data(), x.data(), l.a.data(), n_tokens, l.rank, l.n_in);
  for (T& value : dxa) value *= l.scale;
  for (T& value : xa) value *= l.scale;
  gemm_input_gradient_reference(d.x.data(), dy.data(), l.w.data(), n_tokens, l.n_out, l.n_in);
  gemm_input_gradient_reference(d.x.data(), dxa.data(), l.a.data(), n_tokens, l.rank, l.n_in);
  gemm_weight_gradient_reference(d.a.data(), dxa.data(), x.data(), n_tokens, l.rank, l.n_in);
  gemm_weight_gradient_reference(d.b.data(), dy.data(), xa.data(), n_tokens, l.n_out, l.rank);
  return d;
}

}  // namespace lora
