// What the block formats share: reading a block where it lies, at any alignment.
//
// Blocks are read in place: a copy of 34 bytes goes through the stack in pieces that the vector load after it
// must wait for, which cost two thirds of the time. Outputs are declared __restrict, or the compiler would
// not vectorize.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/half.h"

// Decode functions are inlined wherever they are called: the same lines are compiled for the baseline
// (types.cc) and for each kernel set (kernels/decode), whose vectors they then use.
#define LORA_INLINE inline __attribute__((always_inline))

namespace lora {

static_assert(std::endian::native == std::endian::little, "tensor data is read as it lies in the file");

// For a block's struct: it may lie at any address and overlay any bytes.
#define LORA_BLOCK __attribute__((packed, may_alias))

template <class Block>
LORA_INLINE const Block& block_at(const std::byte* bytes) {
  static_assert(std::is_trivially_copyable_v<Block> && alignof(Block) == 1);
  return *reinterpret_cast<const Block*>(bytes);
}

template <class Block>
LORA_INLINE Block& block_at(std::byte* bytes) {
  static_assert(std::is_trivially_copyable_v<Block> && alignof(Block) == 1);
  return *reinterpret_cast<Block*>(bytes);
}

// Values of a K-quant's super-block.
inline constexpr int k_block_size = 256;

}  // namespace lora
