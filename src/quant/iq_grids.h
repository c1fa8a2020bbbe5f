// The code books of the IQ types: what an index stands for, some values side by side in the bytes of a word,
// the first in its lowest byte.
//
// Groups of eight weights of a model are spread like points in eight dimensions; of the points on a grid
// those that come up most are in a book, and a weight file has their numbers.
#pragma once

#include <array>
#include <cstdint>

namespace lora {

// Eight magnitudes, each 8, 25 or 43.
extern const std::array<uint64_t, 256> iq2_xxs_grid;
extern const std::array<uint64_t, 512> iq2_xs_grid;
extern const std::array<uint64_t, 1024> iq2_s_grid;
// Four magnitudes: 4, 12, 20 .. 52 or 62; odd numbers 1 .. 15.
extern const std::array<uint32_t, 256> iq3_xxs_grid;
extern const std::array<uint32_t, 512> iq3_s_grid;
// Eight numbers, each -8, 0 or 8: the book's -1, 0 and 1 in the eighths that its values are counted in.
extern const std::array<uint64_t, 2048> iq1_grid;

// The signs of four times eight values, of which seven bits each are stored: a byte each, bit j set where
// value j is negative. An even number of each eight are, and that is what gives the eighth.
constexpr uint32_t even_signs(uint32_t stored) {
  const uint32_t seven =
      (stored & 0x7f) | (stored << 1 & 0x7f00) | (stored << 2 & 0x7f0000) | (stored << 3 & 0x7f000000);
  uint32_t parity = seven ^ seven >> 4;  // in bit 0 of each byte, in the end
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | (parity & 0x01010101) << 7;
}

}  // namespace lora
