// f32 to weights with the vectors of the kernel set in use. The encoding itself is quant/'s, compiled once
// more for each set, so the bytes are the same as those of TypeTraits::encode.
#pragma once

#include "quant/types.h"

namespace lora {

using Encoder = decltype(TypeTraits::encode);

// Error for a type that holds no weights, or that is only read.
Encoder find_encoder(Type type);

}  // namespace lora
