// The plain form of swiglu.h.
#pragma once

#include "kernels/activation/activation_reference.h"

namespace lora {

template <class T>
void swiglu_forward_reference(T* y, const T* gate, const T* up, int64_t n) {
  gated_forward_reference(y, gate, up, n, Activation::silu);
}

}  // namespace lora
