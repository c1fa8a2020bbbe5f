// What llama.cpp's quantizer goes by when it chooses types, so that equal names mean equal files.
#pragma once

#include <cstdint>

#include "quant/types.h"

namespace lora {

// The layers in which a mix that ends in _M gives more bits to the values and the down-projection: the first
// and the last eighth, and of the others every third.
constexpr bool has_more_bits(int64_t layer, int64_t n_layers) {
  return layer < n_layers / 8 || layer >= 7 * n_layers / 8 || (layer - n_layers / 8) % 3 == 2;
}

// What rows of n_cols values are stored as where `type` is wanted: itself, or where its blocks do not divide
// them a type of smaller blocks, or F16.
Type type_for_rows(Type type, int64_t n_cols);

// What rows that are of `type` are stored as when their values change: itself, or where it is only read the
// type next to it in bits per weight that has an encoder, and no fewer bits.
Type type_to_write(Type type, int64_t n_cols);

}  // namespace lora
