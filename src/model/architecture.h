// What differs between model families: one file in arch/ and one row in architectures() each.
// A file's general.architecture chooses the row.
#pragma once

#include <span>
#include <string_view>

#include "kernels/rope/rope.h"

namespace lora {

struct Architecture {
  std::string_view name;  // general.architecture, and the prefix of its keys: "llama.block_count"
  RopeStyle rope_style;
};

extern const Architecture kLlama;  // arch/llama.cc

std::span<const Architecture* const> architectures();

}  // namespace lora
