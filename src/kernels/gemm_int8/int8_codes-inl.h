// int8_codes.h for the formats of dot/int8_types-inl.h, which was included before, on the same vectors and
// these:
//
//   kMostMoved            up to this magnitude signed codes are moved to be unsigned, as products want them
//   subtract(v, byte)     of each byte
//   store, store_floats

// What a format's codes become: as they are, or moved.
template <class T>
struct Stored {
  static constexpr int offset = 0, max_code = T::max_code;
};
template <class T>
requires requires {
  T::offset;
}
struct Stored<T> {
  static constexpr int offset = T::offset, max_code = T::max_code;
};
template <class T>
requires requires {
  T::is_signed;
}
struct Stored<T> {
  static constexpr int offset = T::largest <= kMostMoved ? T::largest : 0, max_code = 2 * offset;
};

template <class T>
V stored_codes(V codes) {
  if constexpr (requires { T::is_signed; } && Stored<T>::offset != 0) {
    return subtract(codes, int8_t(-Stored<T>::offset));
  } else {
    return codes;
  }
}

template <class T>
void unpack_blocks(uint8_t* codes, float* scales, float* minimums, const std::byte* blocks, int64_t n) {
  using Block = typename T::Block;
  for (int64_t i = 0; i < n / 32; ++i) {
    store(codes + i * 32, stored_codes<T>(T::codes(block_at<Block>(blocks + i * int64_t(sizeof(Block))))));
  }
  for (int64_t i = 0; i < n / 32; i += 8) {
    const int count = int(std::min<int64_t>(8, n / 32 - i));
    const std::byte* at = blocks + i * int64_t(sizeof(Block));
    alignas(32) float values[8];
    store_floats(values, scales_of<T>(at, count));
    std::memcpy(scales + i, values, size_t(count) * sizeof(float));
    if constexpr (requires(Block b) { b.m; }) {
      const F m = strided_halves(at + offsetof(Block, m), sizeof(Block), count);
      store_floats(values, multiply(m, broadcast(-1)));
      std::memcpy(minimums + i, values, size_t(count) * sizeof(float));
    }
  }
}

template <class T>
constexpr bool has_minimums = requires(typename T::Block b) {
  b.m;
}
|| requires(typename T::Block b) {
  b.dmin;
};

template <class T>
void unpack_k_block(uint8_t* codes, float* scales, float* minimums, const typename T::Block& b) {
  [&]<int... g>(std::integer_sequence<int, g...>) {
    (store(codes + g * 32, stored_codes<T>(T::template codes<g>(b))), ...);
  }
  (std::make_integer_sequence<int, 8>{});
  if constexpr (has_groups_of_16<T>) {
    for (int h = 0; h < 2; ++h) {
      store_floats(scales + h * 8, T::scales(b, h));
      if constexpr (has_minimums<T>) store_floats(minimums + h * 8, T::minimums(b, h));
    }
  } else {
    store_floats(scales, T::scales(b));
    if constexpr (has_minimums<T>) store_floats(minimums, T::minimums(b));
  }
}

template <class T>
void unpack_k_blocks(uint8_t* codes, float* scales, float* minimums, const std::byte* blocks, int64_t n) {
  constexpr int64_t n_scales = has_groups_of_16<T> ? 16 : 8;
  for_k_blocks<T>(blocks, n, [&](const typename T::Block& b, int64_t i) {
    if constexpr (requires { T::part_values; }) {
      if (const int64_t rest = n - i * k_block_size; rest < k_block_size) {
        uint8_t all_codes[k_block_size];
        float all_scales[n_scales];
        unpack_k_block<T>(all_codes, all_scales, nullptr, b);
        std::memcpy(codes + i * k_block_size, all_codes, size_t(rest));
        std::memcpy(scales + i * n_scales, all_scales,
                    size_t(rest * n_scales / k_block_size) * sizeof(float));
        return;
      }
    }
    unpack_k_block<T>(codes + i * k_block_size, scales + i * n_scales, minimums + i * n_scales, b);
  });
}

inline Int8Codes find_int8_codes(Type type) {
  return find_int8_type(type, []<class T>(T) -> Int8Codes {
    if constexpr (is_k<T>) {
      return {has_groups_of_16<T> ? 16 : 32, Stored<T>::offset, Stored<T>::max_code, has_minimums<T>,
              unpack_k_blocks<T>};
    } else {
      return {32, Stored<T>::offset, Stored<T>::max_code, has_minimums<T>, unpack_blocks<T>};
    }
  });
}
