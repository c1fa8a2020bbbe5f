// The vectors of int8_types-inl.h on 256-bit registers; whoever includes it has defined
// I multiply_sum(V a, V x): sums of four products of unsigned a, at most 128, and signed x.
//
// 512-bit registers would not pay: at 256 bits the kernels already wait for memory.

using F = __m256;

inline F zero() {
  return _mm256_setzero_ps();
}
inline F broadcast(float f) {
  return _mm256_set1_ps(f);
}
inline F load_floats(const float* p) {
  return _mm256_loadu_ps(p);
}
inline F plus(F a, F b) {
  return _mm256_add_ps(a, b);
}
inline F multiply(F a, F b) {
  return _mm256_mul_ps(a, b);
}
inline F multiply_add(F a, F b, F c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline float half(f16 h) {
  return _cvtsh_ss(h.bits);
}

inline float sum_of(F f) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(f), _mm256_extractf128_ps(f, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline F halves_to_floats(uint64_t low, uint64_t high) {
  return _mm256_cvtph_ps(_mm_set_epi64x(int64_t(high), int64_t(low)));
}

template <int g>
F lane(F f) {
  return _mm256_permutevar8x32_ps(f, _mm256_set1_epi32(g));
}
template <int g>
F halves(F f) {
  constexpr int a = 2 * g, b = 2 * g + 1;
  return _mm256_permutevar8x32_ps(f, _mm256_setr_epi32(a, a, a, a, b, b, b, b));
}
inline F low_twice(F f) {
  return _mm256_permutevar8x32_ps(f, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
inline F high_twice(F f) {
  return _mm256_permutevar8x32_ps(f, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
}

inline void store_floats(float* p, F f) {
  _mm256_storeu_ps(p, f);
}

inline V load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline void store(void* p, V v) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), v);
}
inline V merge(V a, V b) {
  return _mm256_or_si256(a, b);
}
inline V subtract(V a, int8_t b) {
  return _mm256_sub_epi8(a, _mm256_set1_epi8(b));
}

template <int shift>
V bits(V v, int8_t mask) {
  if constexpr (shift > 0) v = _mm256_srli_epi16(v, shift);
  if constexpr (shift < 0) v = _mm256_slli_epi16(v, -shift);
  return _mm256_and_si256(v, _mm256_set1_epi8(mask));
}

inline V nibbles(const void* p) {
  const V twice = _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  return _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 4, 4)), _mm256_set1_epi8(15));
}

// Byte i is all ones where bit i of the word is set, else 0.
inline V mask_of(uint32_t word) {
  // Byte i gets byte i / 8 of the word, then keeps its own bit.
  const V bytes =
      _mm256_shuffle_epi8(_mm256_set1_epi32(int(word)),
                          _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  const V own = _mm256_set1_epi64x(int64_t(0x8040201008040201));
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, own), own);
}
inline V spread(uint32_t word) {
  return _mm256_and_si256(mask_of(word), _mm256_set1_epi8(16));
}
inline V negate_where(V v, uint32_t word) {
  const V mask = mask_of(word);
  return _mm256_sub_epi8(_mm256_xor_si256(v, mask), mask);
}

inline V words(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  return _mm256_set_epi64x(int64_t(d), int64_t(c), int64_t(b), int64_t(a));
}
inline V swap_middle(V v) {
  return _mm256_permute4x64_epi64(v, 0xd8);
}
inline V plus_bytes(V a, V b) {
  return _mm256_add_epi8(a, b);
}

inline V digits_of_3(V v, V powers) {
  // Of 16 bits, first the low byte, then the high one.
  const V three = _mm256_set1_epi16(3), low_byte = _mm256_set1_epi16(0xff);
  const V low = _mm256_and_si256(_mm256_mullo_epi16(v, powers), low_byte);
  const V high =
      _mm256_and_si256(_mm256_mullo_epi16(_mm256_srli_epi16(v, 8), _mm256_srli_epi16(powers, 8)), low_byte);
  return _mm256_or_si256(_mm256_srli_epi16(_mm256_mullo_epi16(low, three), 8),
                         _mm256_andnot_si256(low_byte, _mm256_mullo_epi16(high, three)));
}

inline V lookup(const int8_t table[16], V v) {
  const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), v);
}

inline I dot(V a, V x) {
  return multiply_sum(a, x);
}
inline I dot_signed(V a, V x) {
  return multiply_sum(_mm256_abs_epi8(a), _mm256_sign_epi8(x, a));
}

template <int n>
I fields(uint32_t word) {
  const I shifts = _mm256_setr_epi32(0, n, 2 * n, 3 * n, 4 * n, 5 * n, 6 * n, 7 * n);
  return _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(int(word)), shifts),
                          _mm256_set1_epi32((1 << n) - 1));
}

inline F to_floats(I i) {
  return _mm256_cvtepi32_ps(i);
}
inline F bytes_to_floats(uint64_t u) {
  return to_floats(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(int64_t(u))));
}
inline F signed_bytes_to_floats(uint64_t u) {
  return to_floats(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(int64_t(u))));
}

inline I eight_bytes(uint64_t u) {
  return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(int64_t(u)));
}
inline F powers_of_two(uint64_t exponents) {
  // As mxfp4_scale().
  const I e = eight_bytes(exponents);
  const I normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
  const I denormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  const I is_denormal = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, denormal, is_denormal));
}
inline F floats_of_8_bits(uint64_t bytes) {
  // As nvfp4_scale().
  const I byte = eight_bytes(bytes), rest = _mm256_and_si256(byte, _mm256_set1_epi32(0x7f));
  const I bits = _mm256_slli_epi32(rest, 20);
  const F normal = _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(119 << 23)));
  const F small = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(120 << 23))),
                                _mm256_set1_ps(0x1p-7f));
  const I is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(8), rest);
  const I is_none = _mm256_cmpeq_epi32(byte, _mm256_set1_epi32(0x7f));
  return _mm256_andnot_ps(_mm256_castsi256_ps(is_none),
                          _mm256_blendv_ps(normal, small, _mm256_castsi256_ps(is_small)));
}
