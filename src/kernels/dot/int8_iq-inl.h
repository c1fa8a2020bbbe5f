// The formats of int8_types-inl.h, which includes this, whose codes are looked up: floats of 4 bits, ternary
// numbers, and the IQ types with their books (quant/iq_grids.h).

struct DotMXFP4 {
  using Block = BlockMXFP4;
  static constexpr bool is_signed = true;
  static constexpr int largest = 12;
  static F scales(const std::byte* blocks, int count) {
    uint64_t exponents = 0;
    for (int i = 0; i < count; ++i)
      exponents |= uint64_t(blocks[i * int(sizeof(Block))]) << 8 * i;  // the first byte of each
    return powers_of_two(exponents);
  }
  static V codes(const Block& b) { return lookup(fp4_values, nibbles(b.qs)); }
};

// Four blocks, 256 values; a row may end within one.
struct LORA_BLOCK FourNVFP4 {
  BlockNVFP4 blocks[4];
};

struct DotNVFP4 {
  using Block = FourNVFP4;
  using Part = BlockNVFP4;
  static constexpr int64_t part_values = 64;
  static constexpr bool is_signed = true;
  static constexpr int largest = 12;
  static F scales(const Block& b, int h) {
    uint32_t d[2];
    std::memcpy(&d[0], b.blocks[2 * h].d, 4);
    std::memcpy(&d[1], b.blocks[2 * h + 1].d, 4);
    return floats_of_8_bits(d[0] | uint64_t{d[1]} << 32);
  }
  template <int g>
  static V codes(const Block& b) {
    return lookup(fp4_values, swap_middle(nibbles(b.blocks[g / 2].qs + g % 2 * 16)));
  }
};

struct DotTQ2_0 {
  using Block = BlockTQ2_0;
  static constexpr int max_code = 3;
  static constexpr int offset = 1;
  static F scales(const Block& b) { return broadcast(half(b.d)); }
  template <int g>
  static V codes(const Block& b) {
    return bits<g % 4 * 2>(load(b.qs + g / 4 * 32), 3);
  }
};

struct DotTQ1_0 {
  using Block = BlockTQ1_0;
  static constexpr int max_code = 2;
  static constexpr int offset = 1;
  static F scales(const Block& b) { return broadcast(half(b.d)); }

  // For the values of group g, which digit of its byte each is: 32 bytes' first ones, and so on; then 16
  // bytes' first and second ones; in the last group 16 bytes' fifth ones, and qh's.
  template <int g>
  static constexpr std::array<uint8_t, 32> powers = [] {
    std::array<uint8_t, 32> result{};
    for (size_t i = 0; i < 32; ++i) {
      const size_t digit = g < 5 ? g : g < 7 ? 2 * (g - 5) + i / 16 : i < 16 ? 4 : i / 4 - 4;
      result[i] = powers_of_3[digit];
    }
    return result;
  }();

  template <int g>
  static V codes(const Block& b) {
    if constexpr (g < 5) return digits_of_3(load(b.qs), load(powers<g>.data()));
    const uint64_t first = uint64_of(b.qs + 32), second = uint64_of(b.qs + 40);
    const uint64_t qh = std::bit_cast<uint32_t>(b.qh) * uint64_t{0x100000001};
    return digits_of_3(g < 7 ? words(first, second, first, second) : words(first, second, qh, qh),
                       load(powers<g>.data()));
  }
};

inline F iq_scales(F scale, float d, float factor) {
  return multiply(plus(scale, broadcast(0.5f)), broadcast(d * factor));
}

// The top four bits of eight words, word(i) the i-th.
template <class Word>
F top_nibbles(const Word& word) {
  uint64_t bytes = 0;
  for (int i = 0; i < 8; ++i) bytes |= uint64_t(word(i) >> 28) << 8 * i;
  return bytes_to_floats(bytes);
}

// index(l): of a book of eight, or four, values for each part of a group.
template <class Grid, class Index>
V from_book(const Grid& grid, const Index& index) {
  const auto eight = [&](int l) -> uint64_t {
    if constexpr (sizeof(grid[0]) == 8) {
      return grid[index(l)];
    } else {
      return grid[index(2 * l)] | uint64_t{grid[index(2 * l + 1)]} << 32;
    }
  };
  return words(eight(0), eight(1), eight(2), eight(3));
}

struct DotIQ2_XXS {
  using Block = BlockIQ2_XXS;
  static constexpr bool is_signed = true;
  static constexpr int largest = 43;
  static F scales(const Block& b) {
    return iq_scales(top_nibbles([&](int g) { return b.groups[g].signs_and_scale; }), half(b.d), 0.25f);
  }
  template <int g>
  static V codes(const Block& b) {
    const auto& group = b.groups[g];
    return negate_where(from_book(iq2_xxs_grid, [&](int l) { return group.index[l]; }),
                        even_signs(group.signs_and_scale));
  }
};

// Of groups of 16, a nibble each.
template <class Block>
F nibble_scales(const Block& b, int h) {
  uint32_t nibbles;
  std::memcpy(&nibbles, b.scales + 4 * h, 4);
  return iq_scales(to_floats(fields<4>(nibbles)), half(b.d), 0.25f);
}

struct DotIQ2_XS {
  using Block = BlockIQ2_XS;
  static constexpr bool is_signed = true;
  static constexpr int largest = 43;
  static F scales(const Block& b, int h) { return nibble_scales(b, h); }
  template <int g>
  static V codes(const Block& b) {
    uint16_t q[4];
    std::memcpy(q, b.qs + g * 4, sizeof q);
    return negate_where(from_book(iq2_xs_grid, [&](int l) { return q[l] & 511; }), iq2_xs_signs(q));
  }
};

struct DotIQ2_S {
  using Block = BlockIQ2_S;
  static constexpr bool is_signed = true;
  static constexpr int largest = 43;
  static F scales(const Block& b, int h) { return nibble_scales(b, h); }
  template <int g>
  static V codes(const Block& b) {
    uint32_t signs;
    std::memcpy(&signs, b.signs + g * 4, 4);
    return negate_where(from_book(iq2_s_grid, [&](int l) { return iq2_s_index(b, g, l); }), signs);
  }
};

struct DotIQ3_XXS {
  using Block = BlockIQ3_XXS;
  static constexpr bool is_signed = true;
  static constexpr int largest = 62;
  static F scales(const Block& b) {
    return iq_scales(top_nibbles([&](int g) { return b.signs_and_scale[g]; }), half(b.d), 0.5f);
  }
  template <int g>
  static V codes(const Block& b) {
    return negate_where(from_book(iq3_xxs_grid, [&](int i) { return b.qs[g * 8 + i]; }),
                        even_signs(b.signs_and_scale[g]));
  }
};

struct DotIQ3_S {
  using Block = BlockIQ3_S;
  static constexpr bool is_signed = true;
  static constexpr int largest = 15;
  static F scales(const Block& b) {
    const F scale = to_floats(fields<4>(std::bit_cast<uint32_t>(b.scales)));
    return multiply(multiply_add(scale, broadcast(2), broadcast(1)), broadcast(half(b.d)));
  }
  template <int g>
  static V codes(const Block& b) {
    uint32_t signs;
    std::memcpy(&signs, b.signs + g * 4, 4);
    return negate_where(from_book(iq3_s_grid, [&](int i) { return iq3_s_index(b, g, i); }), signs);
  }
};

// Codes are eighths: the book's, and one more or less.

inline F iq1_scales(F scale, float d) {
  return multiply(multiply_add(scale, broadcast(2), broadcast(1)), broadcast(d * 0.125f));
}

struct DotIQ1_S {
  using Block = BlockIQ1_S;
  static constexpr bool is_signed = true;
  static constexpr int largest = 9;
  static F scales(const Block& b) {
    uint64_t bytes = 0;
    for (int g = 0; g < 8; ++g) bytes |= uint64_t(b.qh[g] >> 12 & 7) << 8 * g;
    return iq1_scales(bytes_to_floats(bytes), half(b.d));
  }
  template <int g>
  static V codes(const Block& b) {
    return subtract(from_book(iq1_grid, [&](int l) { return iq1_s_index(b, g, l); }),
                    int8_t(b.qh[g] & 0x8000 ? 1 : -1));
  }
};

struct DotIQ1_M {
  using Block = BlockIQ1_M;
  static constexpr bool is_signed = true;
  static constexpr int largest = 9;
  static F scales(const Block& b, int h) {
    const uint32_t word = (b.scales[2 * h] & 0xfffu) | (b.scales[2 * h + 1] & 0xfffu) << 12;
    return iq1_scales(to_floats(fields<3>(word)), half(iq1_m_d(b)));
  }
  template <int g>
  static V codes(const Block& b) {
    const auto moved = [&](int l) {
      return iq1_m_nibble(b, g * 4 + l) & 8 ? ~uint64_t{0} : 0x0101010101010101;
    };
    return plus_bytes(from_book(iq1_grid, [&](int l) { return iq1_m_index(b, g * 4 + l); }),
                      words(moved(0), moved(1), moved(2), moved(3)));
  }
};
