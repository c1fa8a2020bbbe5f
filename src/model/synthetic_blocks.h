// Random weights in every block format: for measuring a model that is not there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "quant/types.h"

namespace lora {

// Blocks that a quantizer could have written: every code occurs, group scales and minimums differ. Decoded
// they have mean 0 and this standard deviation, up to what their randomness leaves. The same for the same
// arguments. n_values is a multiple of the block size; Error for a type that holds no weights.
std::vector<std::byte> random_blocks(Type type, int64_t n_values, float deviation);

}  // namespace lora
