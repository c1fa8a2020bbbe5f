// What tells model files apart.
#pragma once

#include <cstdint>

#include "gguf/gguf.h"

namespace lora {

// A number that tells models apart: metadata, tensor table and samples of each tensor's data, so that a
// file of any size takes no time.
uint64_t fingerprint(const Gguf& gguf);

}  // namespace lora
