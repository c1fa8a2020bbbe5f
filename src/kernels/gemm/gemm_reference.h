// The matrix products of gemm.h as plain loops over decoded weights: the specification that the
// fast kernels are swept against, in float or double.
#pragma once

#include <cstdint>

namespace lora {

// y[t][o] += sum_i x[t][i] w[o][i]
template <class T>
void gemm_forward_reference(T* y, const T* x, const T* w, int64_t n_tokens, int64_t n_out, int64_t n_in) {
  for (int64_t t = 0; t < n_tokens; ++t)
    for (int64_t o = 0; o < n_out; ++o)
      for (int64_t i = 0; i < n_in; ++i) y[t * n_out + o] += x[t * n_in + i] * w[o * n_in + i];
}

// dx[t][i] += sum_o dy[t][o] w[o][i]
template <class T>
void gemm_input_gradient_reference(T* dx, const T* dy, const T* w, int64_t n_tokens, int64_t n_out,
                                   int64_t n_in) {
  for (int64_t t = 0; t < n_tokens; ++t)
    for (int64_t o = 0; o < n_out; ++o)
      for (int64_t i = 0; i < n_in; ++i) dx[t * n_in + i] += dy[t * n_out + o] * w[o * n_in + i];
}

// dw[o][i] += sum_t dy[t][o] x[t][i]
template <class T>
void gemm_weight_gradient_reference(T* dw, const T* dy, const T* x, int64_t n_tokens, int64_t n_out,
                                    int64_t n_in) {
  for (int64_t t = 0; t < n_tokens; ++t)
    for (int64_t o = 0; o < n_out; ++o)
      for (int64_t i = 0; i < n_in; ++i) dw[o * n_in + i] += dy[t * n_out + o] * x[t * n_in + i];
}

}  // namespace lora
