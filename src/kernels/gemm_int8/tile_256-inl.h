// The tile on 256-bit registers: all 32 rows times two tokens at a time. Lanes are weight rows; a token's
// four activations are broadcast from memory. Of 16 registers eight hold the sums of a group, so that the
// sums in floats stay in the first-level cache.
//
// Whoever includes this, inside an unnamed namespace of lora and within the attributes of the instruction
// set, has an enum Codes of the ways to multiply and defines, for n = 1 or 2 tokens, the sums of a group, of
// which `starts` are part. w: [group / 4][32][4]; x, and low where the way to multiply has it: four of the
// first token and four of the second, again after x_step.
template <Codes codes, int group, int n>
HWY_INLINE void sum_products(__m256i (&sums)[4][n], const __m256i (&starts)[n], const uint8_t* w,
                             const int8_t* x, const int8_t* low, int64_t x_step);

inline __m256i broadcast_four(const int8_t* x) {
  int four;
  std::memcpy(&four, x, 4);
  return _mm256_set1_epi32(four);
}

inline __m256i load_codes(const uint8_t* w) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
}

template <Codes codes, int group, bool has_minimums, int n>
void multiply(const Int8Tile& t, int64_t token) {
  const int64_t width = t.width;
  float* y = t.sums + token * t.ld_sums;
  // Here and not where sums are stored: a condition there costs GCC's code for AVX-VNNI a third of its speed.
  for (int i = 0; i < n && !t.accumulate; ++i) std::memset(y + i * t.ld_sums, 0, 32 * sizeof(float));
  for (int64_t g = 0; g < t.k / group; ++g) {
    // What has minimums has no offset, so its sums start at 0.
    __m256i sums[4][n], starts[n];
#pragma GCC unroll 2
    for (int i = 0; i < n; ++i)
      starts[i] = has_minimums ? _mm256_setzero_si256() : _mm256_set1_epi32(t.starts[g * width + token + i]);
    const int64_t q_at = (g * group / 4 * width + token) * 4;
    sum_products<codes, group>(sums, starts, t.codes + g * group * 32, t.q + q_at,
                               t.low ? t.low + q_at : nullptr, width * 4);
#pragma GCC unroll 2
    for (int i = 0; i < n; ++i) {
      const __m256 d = _mm256_set1_ps(t.d[(group == 16 ? g / 2 : g) * width + token + i]);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        float* at = y + i * t.ld_sums + v * 8;
        const __m256 scaled =
            _mm256_mul_ps(_mm256_cvtepi32_ps(sums[v][i]), _mm256_loadu_ps(t.scales + g * 32 + v * 8));
        __m256 sum = _mm256_fmadd_ps(scaled, d, _mm256_loadu_ps(at));
        if constexpr (has_minimums) {
          sum = _mm256_fnmadd_ps(_mm256_loadu_ps(t.minimums + g * 32 + v * 8),
                                 _mm256_set1_ps(t.products[g * width + token + i]), sum);
        }
        _mm256_storeu_ps(at, sum);
      }
    }
  }
}

template <Codes codes, int group, bool has_minimums>
void multiply_tokens(const Int8Tile& tile) {
  int64_t token = 0;
  for (; token + 2 <= tile.width; token += 2) multiply<codes, group, has_minimums, 2>(tile, token);
  if (token < tile.width) multiply<codes, group, has_minimums, 1>(tile, token);
}

template <Codes codes>
void multiply_codes(const Int8Tile& tile, int group) {
  with_group(tile, group, [&]<int n, bool has_minimums>() { multiply_tokens<codes, n, has_minimums>(tile); });
}
