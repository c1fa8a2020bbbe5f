// Quantized weights to floats by way of their codes, as products of integers take them (dot/
// int8_types-inl.h): the same numbers as decode_row's, and three to ten times as fast as what compilers make
// of its loops.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/types.h"

namespace lora {

// n values that begin with a block.
using F32Decoder = void (*)(float* values, const std::byte* blocks, int64_t n);
using Bf16Decoder = void (*)(bf16* values, const std::byte* blocks, int64_t n);

// A file each. nullptr for types without one, and where the build is for another processor.
F32Decoder avx2_decoder(Type type);
F32Decoder neon_decoder(Type type);
Bf16Decoder avx512_bf16_decoder(Type type);

}  // namespace lora
