// The decoders of decode_codes.h, for whoever includes dot/int8_types-inl.h, then this, and has defined the
// type Value of a decoded value and
//
//   store_values<T, adds>(Value* out, V codes, float s0, float s1, float a0, float a1)
//
// which writes 32 values, scale code, or if `adds` scale code + a; 0 is for the first 16 and 1 for the
// others.

// The codes of T with a sign.
template <class T>
V signed_codes(V codes) {
  if constexpr (requires { T::offset; }) {
    return subtract(codes, int8_t(T::offset));
  } else {
    return codes;
  }
}

template <class T>
void decode_blocks(Value* out, const std::byte* blocks, int64_t n) {
  using Block = typename T::Block;
  constexpr bool adds = requires(Block b) {
    b.m;
  };
  for (int64_t first = 0; first < n / 32; first += 8) {
    const int count = int(std::min<int64_t>(8, n / 32 - first));
    const std::byte* at = blocks + first * int64_t(sizeof(Block));
    alignas(32) float scales[8], m[8] = {};
    store_floats(scales, scales_of<T>(at, count));
    if constexpr (adds) store_floats(m, strided_halves(at + offsetof(Block, m), sizeof(Block), count));
    for (int i = 0; i < count; ++i) {
      store_values<T, adds>(out + (first + i) * 32, T::codes(block_at<Block>(at + i * int(sizeof(Block)))),
                            scales[i], scales[i], m[i], m[i]);
    }
  }
}

template <class T>
void decode_k_block(Value* out, const typename T::Block& b) {
  constexpr bool subtracts = requires(typename T::Block block) {
    block.dmin;
  };
  constexpr int per_32 = has_groups_of_16<T> ? 2 : 1;
  alignas(32) float scales[16], minimums[16];
  if constexpr (has_groups_of_16<T>) {
    for (int h = 0; h < 2; ++h) {
      store_floats(scales + 8 * h, T::scales(b, h));
      if constexpr (subtracts) store_floats(minimums + 8 * h, T::minimums(b, h));
    }
  } else {
    store_floats(scales, T::scales(b));
    if constexpr (subtracts) store_floats(minimums, T::minimums(b));
  }
  const auto decode = [&]<int g>(std::integral_constant<int, g>) {
    constexpr int first = g * per_32, second = first + per_32 - 1;
    const float a0 = subtracts ? -minimums[first] : 0, a1 = subtracts ? -minimums[second] : 0;
    store_values<T, subtracts>(out + g * 32, T::template codes<g>(b), scales[first], scales[second], a0, a1);
  };
  [&]<int... g>(std::integer_sequence<int, g...>) {
    (decode(std::integral_constant<int, g>{}), ...);
  }
  (std::make_integer_sequence<int, 8>{});
}

template <class T>
void decode_k_blocks(Value* out, const std::byte* blocks, int64_t n) {
  for_k_blocks<T>(blocks, n, [&](const typename T::Block& b, int64_t i) {
    if constexpr (requires { T::part_values; }) {
      if (const int64_t rest = n - i * k_block_size; rest < k_block_size) {
        Value all[k_block_size];
        decode_k_block<T>(all, b);
        std::memcpy(out + i * k_block_size, all, size_t(rest) * sizeof(Value));
        return;
      }
    }
    decode_k_block<T>(out + i * k_block_size, b);
  });
}

using Decoder = void (*)(Value*, const std::byte*, int64_t);

inline Decoder find_decoder(Type type) {
  return find_int8_type(type, []<class T>(T) -> Decoder {
    if constexpr (is_k<T>) {
      return decode_k_blocks<T>;
    } else {
      return decode_blocks<T>;
    }
  });
}
