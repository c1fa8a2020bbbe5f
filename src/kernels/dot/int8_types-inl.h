// The types that products in 8-bit integers know: their codes and scales, on the vectors of whoever includes
// this (int8_x86-inl.h, int8_neon-inl.h, gemm_int8/int8_codes_scalar.cc):
//
//   V, I, F            32 bytes; 8 x int32; 8 x float
//   load, nibbles      32 bytes; 16 bytes whose low nibbles come first, then the high ones
//   bits<s>(v, m)      (v >> s) & m in each byte; s < 0 shifts to the left
//   spread(word)       byte i is 16 where bit i of the word is set, else 0
//   negate_where(v, word)     byte i is negated where bit i of the word is set
//   words(a, b, c, d)  four times eight bytes
//   swap_middle(v)     of four times eight bytes, the second and the third change places
//   plus_bytes(a, b), subtract(v, byte)
//   lookup(t, v)       t[v] for v < 16
//   digits_of_3(v, p)  (the low 8 bits of v p) 3 >> 8 in each byte: 0, 1 or 2
//   halves_to_floats(lo, hi)  eight 16-bit floats, the first in the low bits
//   powers_of_two(word)       2^(byte - 128) for eight bytes
//   floats_of_8_bits(word)    nvfp4_scale() of eight bytes
//   fields<n>(word)    lane i: n bits of the word from bit n i
//
// Included inside an unnamed namespace of lora, within the attributes of the instruction set.

inline uint64_t uint64_of(const void* p) {
  uint64_t u;
  std::memcpy(&u, p, 8);
  return u;
}

// Blocks of 32 values: value = d (code - offset), or d code + m. Codes are 0 .. max_code, or signed, at most
// `largest` in magnitude.

struct DotQ4_0 {
  using Block = BlockQ4_0;
  static constexpr int max_code = 15;
  static constexpr int offset = 8;
  static V codes(const Block& b) { return nibbles(b.qs); }
};

struct DotQ4_1 {
  using Block = BlockQ4_1;
  static constexpr int max_code = 15;
  static V codes(const Block& b) { return nibbles(b.qs); }
};

struct DotQ5_0 {
  using Block = BlockQ5_0;
  static constexpr int max_code = 31;
  static constexpr int offset = 16;
  static V codes(const Block& b) { return merge(nibbles(b.qs), spread(std::bit_cast<uint32_t>(b.qh))); }
};

struct DotQ5_1 {
  using Block = BlockQ5_1;
  static constexpr int max_code = 31;
  static V codes(const Block& b) { return merge(nibbles(b.qs), spread(std::bit_cast<uint32_t>(b.qh))); }
};

struct DotQ8_0 {
  using Block = BlockQ8_0;
  static constexpr bool is_signed = true;
  static constexpr int largest = 128;
  static V codes(const Block& b) { return load(b.qs); }
};

struct DotIQ4_NL {
  using Block = BlockIQ4_NL;
  static constexpr bool is_signed = true;
  static constexpr int largest = 127;
  static V codes(const Block& b) { return lookup(iq4_values, nibbles(b.qs)); }
};

// The 16-bit floats that lie `stride` bytes apart, zeros behind the first `count`. General registers put them
// together: the vector units have enough to do.
inline F strided_halves(const std::byte* p, int64_t stride, int count) {
  uint64_t words[2] = {};
  for (int i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, p + i * stride, 2);
    words[i / 4] |= uint64_t{bits} << 16 * (i % 4);
  }
  return halves_to_floats(words[0], words[1]);
}

// Their scales; formats whose blocks do not begin with one in 16 bits have their own.
template <class T>
F scales_of(const std::byte* blocks, int count) {
  if constexpr (requires { T::scales(blocks, count); }) {
    return T::scales(blocks, count);
  } else {
    return strided_halves(blocks, sizeof(typename T::Block), count);
  }
}

// Blocks of 256 values in groups of 32: value = scale code - minimum. scales() and minimums() give those of
// the eight groups, codes<g>() the codes of one.

struct KScaleWords {
  uint64_t scales, minimums;  // a byte each
};

// As unpack_k_scales (quant/k_scales.h), four bytes at a time and never through memory.
inline KScaleWords k_scale_words(const uint8_t packed[12]) {
  uint32_t w[3];
  std::memcpy(w, packed, 12);
  const uint32_t high_scales = (w[2] & 0x0f0f0f0f) | (w[0] >> 2 & 0x30303030);
  const uint32_t high_minimums = (w[2] >> 4 & 0x0f0f0f0f) | (w[1] >> 2 & 0x30303030);
  return {(w[0] & 0x3f3f3f3f) | uint64_t{high_scales} << 32,
          (w[1] & 0x3f3f3f3f) | uint64_t{high_minimums} << 32};
}

template <class T>
F k_scales(const T& b) {
  return multiply(bytes_to_floats(k_scale_words(b.scales).scales), broadcast(half(b.d)));
}

template <class T>
F k_minimums(const T& b) {
  return multiply(bytes_to_floats(k_scale_words(b.scales).minimums), broadcast(half(b.dmin)));
}

struct DotQ4_K {
  using Block = BlockQ4_K;
  static constexpr int max_code = 15;
  static F scales(const Block& b) { return k_scales(b); }
  static F minimums(const Block& b) { return k_minimums(b); }
  template <int g>
  static V codes(const Block& b) {
    return bits<g % 2 * 4>(load(b.qs + g / 2 * 32), 15);
  }
};

struct DotQ5_K {
  using Block = BlockQ5_K;
  static constexpr int max_code = 31;
  static F scales(const Block& b) { return k_scales(b); }
  static F minimums(const Block& b) { return k_minimums(b); }
  template <int g>
  static V codes(const Block& b) {
    return merge(bits<g % 2 * 4>(load(b.qs + g / 2 * 32), 15), bits<g - 4>(load(b.qh), 16));
  }
};

struct DotIQ4_XS {
  using Block = BlockIQ4_XS;
  static F scales(const Block& b) {
    const I low = fields<4>(std::bit_cast<uint32_t>(b.scales_l)), high = fields<2>(b.scales_h);
    const F scale = multiply_add(to_floats(high), broadcast(16), plus(to_floats(low), broadcast(-32)));
    return multiply(scale, broadcast(half(b.d)));
  }
  static constexpr bool is_signed = true;
  static constexpr int largest = 127;
  template <int g>
  static V codes(const Block& b) {
    return lookup(iq4_values, nibbles(b.qs + g * 16));
  }
};

// Blocks of 256 values in groups of 16; scales(b, h) and minimums(b, h) are those of groups 8 h .. 8 h + 7.
// With an offset, value = scale (code - offset).

struct DotQ2_K {
  using Block = BlockQ2_K;
  static constexpr int max_code = 3;
  static F scales(const Block& b, int h) {
    return multiply(bytes_to_floats(uint64_of(b.scales + 8 * h) & 0x0f0f0f0f0f0f0f0f), broadcast(half(b.d)));
  }
  static F minimums(const Block& b, int h) {
    return multiply(bytes_to_floats(uint64_of(b.scales + 8 * h) >> 4 & 0x0f0f0f0f0f0f0f0f),
                    broadcast(half(b.dmin)));
  }
  template <int g>
  static V codes(const Block& b) {
    return bits<g % 4 * 2>(load(b.qs + g / 4 * 32), 3);
  }
};

struct DotQ3_K {
  using Block = BlockQ3_K;
  static constexpr int max_code = 7;
  static F scales(const Block& b, int h) {
    uint32_t high;
    std::memcpy(&high, b.scales + 8, 4);
    const uint64_t low = uint64_of(b.scales) >> 4 * h & 0x0f0f0f0f0f0f0f0f;
    const uint64_t upper = uint64_t{high >> 4 * h & 0x03030303} | uint64_t{high >> (4 * h + 2) & 0x03030303}
                                                                      << 32;
    return multiply(plus(bytes_to_floats(low | upper << 4), broadcast(-32)), broadcast(half(b.d)));
  }
  static constexpr int offset = 4;
  template <int g>
  static V codes(const Block& b) {
    return merge(bits<g % 4 * 2>(load(b.qs + g / 4 * 32), 3), bits<g - 2>(load(b.hmask), 4));
  }
};

struct DotQ6_K {
  using Block = BlockQ6_K;
  static constexpr int max_code = 63;
  static F scales(const Block& b, int h) {
    return multiply(signed_bytes_to_floats(uint64_of(b.scales + 8 * h)), broadcast(half(b.d)));
  }
  static constexpr int offset = 32;
  template <int g>
  static V codes(const Block& b) {
    constexpr int half_block = g / 4, s = g % 4;
    const V low = bits<s / 2 * 4>(load(b.ql + half_block * 64 + s % 2 * 32), 15);
    return merge(low, bits<s * 2 - 4>(load(b.qh + half_block * 32), 48));
  }
};

#include "kernels/dot/int8_iq-inl.h"

template <class T>
constexpr bool is_k = requires(const typename T::Block& b) {
  T::template codes<0>(b);
};
template <class T>
constexpr bool has_groups_of_16 = requires(typename T::Block b) {
  T::scales(b, 0);
};

// Calls each(block, i) for the i-th of those that n values take. In the last one, what a row that ends within
// it does not have is zero.
template <class T, class Each>
void for_k_blocks(const std::byte* row, int64_t n, const Each& each) {
  using Block = typename T::Block;
  const int64_t n_blocks = n / k_block_size;
  for (int64_t i = 0; i < n_blocks; ++i) each(block_at<Block>(row + i * int64_t(sizeof(Block))), i);
  if constexpr (requires { T::part_values; }) {
    const int64_t n_parts = n % k_block_size / T::part_values;
    if (n_parts == 0) return;
    Block last{};
    std::memcpy(&last, row + n_blocks * int64_t(sizeof(Block)), size_t(n_parts) * sizeof(typename T::Part));
    each(last, n_blocks);
  }
}

// What each format's struct is called with: found(a Dot struct), or nothing for types without one.
template <class Found>
auto find_int8_type(Type type, const Found& found) {
  switch (type) {
#define LORA_CASE(type) \
  case Type::type:      \
    return found(Dot##type{});
    LORA_CASE(Q4_0)
    LORA_CASE(Q4_1)
    LORA_CASE(Q5_0)
    LORA_CASE(Q5_1)
    LORA_CASE(Q8_0)
    LORA_CASE(IQ4_NL)
    LORA_CASE(Q2_K)
    LORA_CASE(Q3_K)
    LORA_CASE(Q4_K)
    LORA_CASE(Q5_K)
    LORA_CASE(Q6_K)
    LORA_CASE(IQ4_XS)
    LORA_CASE(IQ1_S)
    LORA_CASE(IQ1_M)
    LORA_CASE(IQ2_XXS)
    LORA_CASE(IQ2_XS)
    LORA_CASE(IQ2_S)
    LORA_CASE(IQ3_XXS)
    LORA_CASE(IQ3_S)
    LORA_CASE(TQ1_0)
    LORA_CASE(TQ2_0)
    LORA_CASE(MXFP4)
    LORA_CASE(NVFP4)
#undef LORA_CASE
    default:
      return decltype(found(DotQ8_0{})){};
  }
}
