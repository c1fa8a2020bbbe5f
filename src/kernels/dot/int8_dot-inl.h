// The products of int8.h for the types of int8_types-inl.h, which was included before, on the same vectors
// and these:
//
//   dot(a, x)          lane i: the sum of four products; a unsigned, at most 127
//   dot_signed(a, x)   the same; a signed
//   lane<g>(f)         f[g] in all lanes
//   halves<g>(f)       f[2 g] in the first four lanes, f[2 g + 1] in the others
//   low_twice, high_twice    f[0], f[0], f[1], f[1] ...; f[4], f[4] ...

// Far enough for memory to answer, near enough to stay in the first-level cache.
constexpr int kAhead = 2048;  // bytes; 1024 and less reached 90% of the speed of reading on Zen 4, this 98%

inline void prefetch(const std::byte* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + kAhead + i);
}

// The codes of T times activations.
template <class T>
I dot_codes(V codes, V x) {
  if constexpr (requires { T::is_signed; }) {
    return dot_signed(codes, x);
  } else {
    return dot(codes, x);
  }
}

// Eight blocks (or the last `count`), whose scales are converted and applied together.
template <class T>
struct EightBlocks {
  using Block = typename T::Block;
  const std::byte* row;
  const Int8Row& x;
  F sums[4] = {zero(), zero(), zero(), zero()};
  F minimums = zero();

  template <int... i>
  void add(int64_t first, int count, std::integer_sequence<int, i...>) {
    const std::byte* at = row + first * int64_t(sizeof(Block));
    const F d_w = scales_of<T>(at, count), d = multiply(d_w, load_floats(x.d + first));
    const auto add_block = [&]<int k>(std::integral_constant<int, k>) {
      const F products = to_floats(
          dot_codes<T>(T::codes(block_at<Block>(at + k * int(sizeof(Block)))), load(x.q + (first + k) * 32)));
      sums[k % 4] = multiply_add(products, lane<k>(d), sums[k % 4]);
    };
    (add_block(std::integral_constant<int, i>{}), ...);
    if constexpr (requires { T::offset; }) {
      minimums =
          multiply_add(multiply(d_w, broadcast(float(-T::offset))), load_floats(x.sums + first), minimums);
    }
    if constexpr (requires(Block b) { b.m; }) {
      const F m = strided_halves(at + offsetof(Block, m), sizeof(Block), count);
      minimums = multiply_add(m, load_floats(x.sums + first), minimums);
    }
  }
};

template <class T>
float dot_blocks(const std::byte* row, const Int8Row& x, int64_t n) {
  EightBlocks<T> eight{row, x};
  const int64_t n_blocks = n / 32;
  int64_t i = 0;
  for (; i + 8 <= n_blocks; i += 8) {
    prefetch(row + i * int64_t(sizeof(typename T::Block)), 8 * sizeof(typename T::Block));
    eight.add(i, 8, std::make_integer_sequence<int, 8>{});
  }
  for (; i < n_blocks; ++i) eight.add(i, 1, std::make_integer_sequence<int, 1>{});
  return sum_of(plus(plus(eight.sums[0], eight.sums[1]), plus(eight.sums[2], eight.sums[3]))) +
         sum_of(eight.minimums);
}

template <class T>
F with_offset(F scales) {
  return multiply(scales, broadcast(float(T::offset)));
}

template <class T>
F minimums_of(const typename T::Block& b, int h) {
  if constexpr (requires { T::offset; }) {
    return with_offset<T>(T::scales(b, h));
  } else {
    return T::minimums(b, h);
  }
}

template <class T>
float dot_k_blocks(const std::byte* row, const Int8Row& x, int64_t n) {
  using Block = typename T::Block;
  F sums[2] = {zero(), zero()}, minimums = zero();
  for_k_blocks<T>(row, n, [&](const Block& b, int64_t i) {
    prefetch(row + i * int64_t(sizeof(Block)), sizeof(Block));
    const int8_t* q = x.q + i * k_block_size;
    const F d = load_floats(x.d + i * 8);
    F scales[2];
    if constexpr (has_groups_of_16<T>) {
      scales[0] = multiply(T::scales(b, 0), low_twice(d));
      scales[1] = multiply(T::scales(b, 1), high_twice(d));
      if constexpr (!requires { T::is_signed; }) {
        minimums = multiply_add(minimums_of<T>(b, 0), load_floats(x.sums16 + i * 16), minimums);
        minimums = multiply_add(minimums_of<T>(b, 1), load_floats(x.sums16 + i * 16 + 8), minimums);
      }
    } else {
      const F own = T::scales(b);
      scales[0] = multiply(own, d);
      if constexpr (requires { T::offset; }) {
        minimums = multiply_add(with_offset<T>(own), load_floats(x.sums + i * 8), minimums);
      } else if constexpr (requires { T::minimums(b); }) {
        minimums = multiply_add(T::minimums(b), load_floats(x.sums + i * 8), minimums);
      }
    }
    const auto add = [&]<int g>(std::integral_constant<int, g>) {
      const F products = to_floats(dot_codes<T>(T::template codes<g>(b), load(q + g * 32)));
      if constexpr (has_groups_of_16<T>) {
        sums[g % 2] = multiply_add(products, halves<g % 4>(scales[g / 4]), sums[g % 2]);
      } else {
        sums[g % 2] = multiply_add(products, lane<g>(scales[0]), sums[g % 2]);
      }
    };
    [&]<int... g>(std::integer_sequence<int, g...>) {
      (add(std::integral_constant<int, g>{}), ...);
    }
    (std::make_integer_sequence<int, 8>{});
  });
  return sum_of(plus(sums[0], sums[1])) - sum_of(minimums);
}

inline Int8Dot find_int8_dot(Type type) {
  return find_int8_type(type, []<class T>(T) -> Int8Dot {
    if constexpr (is_k<T>) {
      return dot_k_blocks<T>;
    } else {
      return dot_blocks<T>;
    }
  });
}
