// Weights straight to bf16 with AVX512-BF16: codes as in products of integers, then one multiplication and
// one rounding for 32 values at a time. The numbers that are rounded are decode_row's, bit for bit.
#include "kernels/decode/decode_bf16.h"

#if defined(__x86_64__)
#include <hwy/base.h>
#include <immintrin.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/dot/int8.h"
#include "quant/formats.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")
namespace lora {
namespace {

using V = __m256i;
using I = __m256i;

// Nothing is multiplied in integers here.
inline I multiply_sum(V a, V) {
  return a;
}

#include "kernels/dot/int8_x86-inl.h"
// After the vectors it computes with.
#include "kernels/dot/int8_types-inl.h"

template <class T>
__m512 floats(V codes, int half) {
  if constexpr (requires { T::offset; }) codes = subtract(codes, int8_t(T::offset));
  const __m128i bytes = half == 0 ? _mm256_castsi256_si128(codes) : _mm256_extracti128_si256(codes, 1);
  // Masked by all ones: without a mask GCC 12 warns of what is not so.
  return _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, bytes));
}

inline void store_bf16(bf16* out, __m512 low, __m512 high) {
  _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

template <class T>
void decode_blocks(bf16* out, const std::byte* blocks, int64_t n) {
  using Block = typename T::Block;
  for (int64_t first = 0; first < n / 32; first += 8) {
    const int count = int(std::min<int64_t>(8, n / 32 - first));
    const std::byte* at = blocks + first * int64_t(sizeof(Block));
    alignas(32) float scales[8], sums[8];
    store_floats(scales, scales_of<T>(at, count));
    if constexpr (requires(Block b) { b.m; }) {
      store_floats(sums, strided_halves(at + offsetof(Block, m), sizeof(Block), count));
    }
    for (int i = 0; i < count; ++i) {
      const V codes = T::codes(block_at<Block>(at + i * int(sizeof(Block))));
      const __m512 scale = _mm512_set1_ps(scales[i]);
      __m512 low = _mm512_mul_ps(floats<T>(codes, 0), scale),
             high = _mm512_mul_ps(floats<T>(codes, 1), scale);
      if constexpr (requires(Block b) { b.m; }) {
        const __m512 m = _mm512_set1_ps(sums[i]);
        low = _mm512_add_ps(low, m);
        high = _mm512_add_ps(high, m);
      }
      store_bf16(out + (first + i) * 32, low, high);
    }
  }
}

template <class T>
void decode_k_block(bf16* out, const typename T::Block& b) {
  constexpr bool has_minimums = requires(typename T::Block block) {
    block.dmin;
  };
  constexpr int per_32 = has_groups_of_16<T> ? 2 : 1;
  alignas(32) float scales[16], minimums[16];
  if constexpr (has_groups_of_16<T>) {
    for (int h = 0; h < 2; ++h) {
      store_floats(scales + 8 * h, T::scales(b, h));
      if constexpr (has_minimums) store_floats(minimums + 8 * h, T::minimums(b, h));
    }
  } else {
    store_floats(scales, T::scales(b));
    if constexpr (has_minimums) store_floats(minimums, T::minimums(b));
  }
  const auto decode = [&]<int g>(std::integral_constant<int, g>) {
    const V codes = T::template codes<g>(b);
    constexpr int first = g * per_32, second = first + per_32 - 1;
    __m512 low = _mm512_mul_ps(floats<T>(codes, 0), _mm512_set1_ps(scales[first]));
    __m512 high = _mm512_mul_ps(floats<T>(codes, 1), _mm512_set1_ps(scales[second]));
    if constexpr (has_minimums) {
      low = _mm512_sub_ps(low, _mm512_set1_ps(minimums[first]));
      high = _mm512_sub_ps(high, _mm512_set1_ps(minimums[second]));
    }
    store_bf16(out + g * 32, low, high);
  };
  [&]<int... g>(std::integer_sequence<int, g...>) {
    (decode(std::integral_constant<int, g>{}), ...);
  }
  (std::make_integer_sequence<int, 8>{});
}

template <class T>
void decode_k_blocks(bf16* out, const std::byte* blocks, int64_t n) {
  for_k_blocks<T>(blocks, n, [&](const typename T::Block& b, int64_t i) {
    if constexpr (requires { T::part_values; }) {
      if (const int64_t rest = n - i * k_block_size; rest < k_block_size) {
        bf16 all[k_block_size];
        decode_k_block<T>(all, b);
        std::memcpy(out + i * k_block_size, all, size_t(rest) * sizeof(bf16));
        return;
      }
    }
    decode_k_block<T>(out + i * k_block_size, b);
  });
}

// n floats of any kind: load(i, mask) gives 16 of them.
template <class Load>
void round_floats(bf16* out, int64_t n, const Load& load) {
  constexpr __mmask16 all = 0xffff;
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) store_bf16(out + i, load(i, all), load(i + 16, all));
  if (i == n) return;
  const uint32_t valid = (1u << (n - i)) - 1;
  const __m512 low = load(i, __mmask16(valid)), high = load(i + 16, __mmask16(valid >> 16));
  _mm512_mask_storeu_epi16(out + i, valid, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

void decode_f32(bf16* out, const std::byte* floats, int64_t n) {
  round_floats(out, n,
               [&](int64_t i, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, floats + i * 4); });
}

void decode_f16(bf16* out, const std::byte* floats, int64_t n) {
  round_floats(out, n, [&](int64_t i, __mmask16 mask) {
    return _mm512_maskz_cvtph_ps(mask, _mm256_maskz_loadu_epi16(mask, floats + i * 2));
  });
}

}  // namespace

Bf16Decoder avx512_bf16_decoder(Type type) {
  if (type == Type::F32) return decode_f32;
  if (type == Type::F16) return decode_f16;
  return find_int8_type(type, []<class T>(T) -> Bf16Decoder {
    if constexpr (is_k<T>) {
      return decode_k_blocks<T>;
    } else {
      return decode_blocks<T>;
    }
  });
}

}  // namespace lora
HWY_POP_ATTRIBUTES

#else

namespace lora {
Bf16Decoder avx512_bf16_decoder(Type) {
  return nullptr;
}
}  // namespace lora

#endif
