// Quantized weights straight to bf16, where instructions for it are there: decoding to floats first and
// rounding them takes three to eight times as long.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "quant/types.h"

namespace lora {

// n values that begin with a block.
using Bf16Decoder = void (*)(bf16* values, const std::byte* blocks, int64_t n);

// nullptr for types without one, and where the build is for another processor.
Bf16Decoder avx512_bf16_decoder(Type type);

}  // namespace lora
