// The codes in plain C++: the functions of dot/int8_types-inl.h element by element, on the compiler's own
// vectors.
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/gemm_int8/int8_codes.h"
#include "quant/formats.h"

namespace lora {
namespace {

using V = uint8_t __attribute__((vector_size(32)));
using I = int32_t __attribute__((vector_size(32)));
using F = float __attribute__((vector_size(32)));

constexpr int kMostMoved = 0;

template <class To, class Each>
To filled(const Each& each) {
  To to{};
  for (size_t i = 0; i < sizeof(To) / sizeof(to[0]); ++i) to[i] = each(i);
  return to;
}
template <class To>
To copied(const void* p) {
  To to;
  std::memcpy(&to, p, sizeof to);
  return to;
}
inline uint8_t byte_of(uint64_t word, size_t i) {
  return uint8_t(word >> 8 * i);
}

inline F broadcast(float f) {
  return filled<F>([=](size_t) { return f; });
}
inline F plus(F a, F b) {
  return a + b;
}
inline F multiply(F a, F b) {
  return a * b;
}
inline F multiply_add(F a, F b, F c) {
  return a * b + c;  // of integers, so that nothing is rounded
}
inline void store_floats(float* p, F f) {
  std::memcpy(p, &f, sizeof f);
}
inline float half(f16 h) {
  return to_f32(h);
}
inline F halves_to_floats(uint64_t low, uint64_t high) {
  return filled<F>([=](size_t i) { return to_f32(f16{uint16_t((i < 4 ? low : high) >> 16 * (i % 4))}); });
}
inline F to_floats(I v) {
  return filled<F>([&](size_t i) { return float(v[i]); });
}
inline F bytes_to_floats(uint64_t word) {
  return filled<F>([=](size_t i) { return float(byte_of(word, i)); });
}
inline F signed_bytes_to_floats(uint64_t word) {
  return filled<F>([=](size_t i) { return float(int8_t(byte_of(word, i))); });
}
inline F powers_of_two(uint64_t exponents) {
  return filled<F>([=](size_t i) { return mxfp4_scale(byte_of(exponents, i)); });
}
inline F floats_of_8_bits(uint64_t bytes) {
  return filled<F>([=](size_t i) { return nvfp4_scale(byte_of(bytes, i)); });
}
template <int n>
I fields(uint32_t word) {
  return filled<I>([=](size_t i) { return int32_t(word >> n * i & ((1u << n) - 1)); });
}

inline V load(const void* p) {
  return copied<V>(p);
}
inline void store(void* p, V v) {
  std::memcpy(p, &v, sizeof v);
}
inline V merge(V a, V b) {
  return a | b;
}
inline V plus_bytes(V a, V b) {
  return a + b;
}
inline V subtract(V v, int8_t byte) {
  return v - uint8_t(byte);
}
template <int shift>
V bits(V v, uint8_t mask) {
  if constexpr (shift > 0) v >>= shift;
  if constexpr (shift < 0) v <<= -shift;
  return v & mask;
}
inline V nibbles(const void* p) {
  const auto* bytes = static_cast<const uint8_t*>(p);
  return filled<V>([=](size_t i) { return i < 16 ? bytes[i] & 15 : bytes[i - 16] >> 4; });
}
inline V spread(uint32_t word) {
  return filled<V>([=](size_t i) { return (word >> i & 1) * 16; });
}
inline V negate_where(V v, uint32_t word) {
  return filled<V>([&](size_t i) { return word >> i & 1 ? -v[i] : v[i]; });
}
inline V words(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  const uint64_t four[] = {a, b, c, d};
  return copied<V>(four);
}
inline V swap_middle(V v) {
  return filled<V>([&](size_t i) { return v[i / 8 == 1 ? i + 8 : i / 8 == 2 ? i - 8 : i]; });
}
inline V lookup(const int8_t table[16], V v) {
  return filled<V>([&](size_t i) { return table[v[i]]; });
}
inline V digits_of_3(V v, V powers) {
  return filled<V>([&](size_t i) { return uint8_t(v[i] * powers[i]) * 3 >> 8; });
}

// After the vectors it computes with.
#include "kernels/dot/int8_types-inl.h"
// After the types.
#include "kernels/gemm_int8/int8_codes-inl.h"

}  // namespace

Int8Codes scalar_int8_codes(Type type) {
  return find_int8_codes(type);
}

}  // namespace lora
