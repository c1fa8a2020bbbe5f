// The plain form of rope.h: the `scalar` kernel set with T = float, the finite-difference tests with T =
// double.
#pragma once

#include <cstdint>

#include "kernels/rope/rope.h"

namespace lora {

template <class T>
void rope_apply_reference(T* x, const int32_t* positions, int64_t n_tokens, int64_t n_head, int64_t head_dim,
                          const T* cos, const T* sin, int64_t n_rot, RopeStyle style, bool inverse) {
  const int64_t n_pairs = n_rot / 2;
  const bool interleaved = style == RopeStyle::interleaved;
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t h = 0; h < n_head; ++h, x += head_dim) {
      for (int64_t i = 0; i < n_pairs; ++i) {
        const T c = cos[positions[t] * n_pairs + i];
        const T s = inverse ? -sin[positions[t] * n_pairs + i] : sin[positions[t] * n_pairs + i];
        T& a = x[interleaved ? 2 * i : i];
        T& b = x[interleaved ? 2 * i + 1 : i + n_pairs];
        const T turned = a * c - b * s;
        b = a * s + b * c;
        a = turned;
      }
    }
  }
}

}  // namespace lora
