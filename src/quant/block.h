// What the block formats share: loading a block from bytes of any alignment.
//
// A file's tensors are little-endian and aligned as the file pleases, so a block is copied to a
// local struct before use. The copy is also what lets the compiler vectorize a decode loop: a
// local cannot alias the output.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/half.h"

namespace lora {

static_assert(std::endian::native == std::endian::little, "tensor data is read as it lies in the file");

template <class Block>
inline Block load_block(const std::byte* bytes) {
  static_assert(std::is_trivially_copyable_v<Block>);
  Block block;
  std::memcpy(&block, bytes, sizeof block);
  return block;
}

// Values of a K-quant's super-block.
inline constexpr int k_block_size = 256;

}  // namespace lora
