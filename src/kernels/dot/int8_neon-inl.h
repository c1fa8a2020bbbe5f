// The vectors of int8_types-inl.h on NEON, two registers each; whoever includes it has defined
// int32x4_t sums_of_four(uint8x16_t a, uint8x16_t x): sums of four products of signed bytes.

struct V {
  uint8x16_t a, b;
};
struct I {
  int32x4_t a, b;
};
struct F {
  float32x4_t a, b;
};

inline F broadcast(float f) {
  return {vdupq_n_f32(f), vdupq_n_f32(f)};
}
inline F zero() {
  return broadcast(0);
}
inline F load_floats(const float* p) {
  return {vld1q_f32(p), vld1q_f32(p + 4)};
}
inline void store_floats(float* p, F f) {
  vst1q_f32(p, f.a);
  vst1q_f32(p + 4, f.b);
}
inline F plus(F x, F y) {
  return {vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b)};
}
inline F multiply(F x, F y) {
  return {vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b)};
}
inline F multiply_add(F x, F y, F z) {
  return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b)};
}
inline float sum_of(F f) {
  return vaddvq_f32(vaddq_f32(f.a, f.b));
}
inline float half(f16 h) {
  return to_f32(h);
}

inline F halves_to_floats(uint64_t low, uint64_t high) {
  return {vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(low))),
          vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(high)))};
}

template <int g>
float32x4_t one_lane(F f) {
  return vdupq_laneq_f32(g < 4 ? f.a : f.b, g % 4);
}
template <int g>
F lane(F f) {
  return {one_lane<g>(f), one_lane<g>(f)};
}
template <int g>
F halves(F f) {
  return {one_lane<2 * g>(f), one_lane<2 * g + 1>(f)};
}
inline F low_twice(F f) {
  return {vzip1q_f32(f.a, f.a), vzip2q_f32(f.a, f.a)};
}
inline F high_twice(F f) {
  return {vzip1q_f32(f.b, f.b), vzip2q_f32(f.b, f.b)};
}

inline V load(const void* p) {
  const auto* bytes = static_cast<const uint8_t*>(p);
  return {vld1q_u8(bytes), vld1q_u8(bytes + 16)};
}
inline void store(void* p, V v) {
  auto* bytes = static_cast<uint8_t*>(p);
  vst1q_u8(bytes, v.a);
  vst1q_u8(bytes + 16, v.b);
}
inline V merge(V x, V y) {
  return {vorrq_u8(x.a, y.a), vorrq_u8(x.b, y.b)};
}
inline V subtract(V x, uint8_t y) {
  return {vsubq_u8(x.a, vdupq_n_u8(y)), vsubq_u8(x.b, vdupq_n_u8(y))};
}

template <int shift>
uint8x16_t bits(uint8x16_t v, uint8_t mask) {
  return vandq_u8(vshlq_u8(v, vdupq_n_s8(-shift)), vdupq_n_u8(mask));
}
template <int shift>
V bits(V v, uint8_t mask) {
  return {bits<shift>(v.a, mask), bits<shift>(v.b, mask)};
}

inline V nibbles(const void* p) {
  const uint8x16_t v = vld1q_u8(static_cast<const uint8_t*>(p));
  return {vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8(v, 4)};
}

// Byte i is all ones where bit i of the word is set, else 0.
inline V mask_of(uint32_t word) {
  const uint8x16_t own = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  const auto of_16 = [&](uint32_t w) {
    return vtstq_u8(vcombine_u8(vdup_n_u8(uint8_t(w)), vdup_n_u8(uint8_t(w >> 8))), own);
  };
  return {of_16(word), of_16(word >> 16)};
}
inline V spread(uint32_t word) {
  const V mask = mask_of(word);
  return {vandq_u8(mask.a, vdupq_n_u8(16)), vandq_u8(mask.b, vdupq_n_u8(16))};
}
inline V negate_where(V v, uint32_t word) {
  const V mask = mask_of(word);
  return {vsubq_u8(veorq_u8(v.a, mask.a), mask.a), vsubq_u8(veorq_u8(v.b, mask.b), mask.b)};
}

inline V words(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  return {vcombine_u8(vcreate_u8(a), vcreate_u8(b)), vcombine_u8(vcreate_u8(c), vcreate_u8(d))};
}
inline V swap_middle(V v) {
  const uint64x2_t a = vreinterpretq_u64_u8(v.a), b = vreinterpretq_u64_u8(v.b);
  return {vreinterpretq_u8_u64(vzip1q_u64(a, b)), vreinterpretq_u8_u64(vzip2q_u64(a, b))};
}
inline V plus_bytes(V x, V y) {
  return {vaddq_u8(x.a, y.a), vaddq_u8(x.b, y.b)};
}

inline V digits_of_3(V v, V powers) {
  // 3 x >> 8 is 1 from 86 on and 2 from 171 on.
  const auto digits = [](uint8x16_t x, uint8x16_t power) {
    const uint8x16_t low = vmulq_u8(x, power);
    const uint8x16_t minus = vaddq_u8(vcgtq_u8(low, vdupq_n_u8(85)), vcgtq_u8(low, vdupq_n_u8(170)));
    return vsubq_u8(vdupq_n_u8(0), minus);
  };
  return {digits(v.a, powers.a), digits(v.b, powers.b)};
}

inline V lookup(const int8_t table[16], V v) {
  const uint8x16_t t = vreinterpretq_u8_s8(vld1q_s8(table));
  return {vqtbl1q_u8(t, v.a), vqtbl1q_u8(t, v.b)};
}

inline I dot_signed(V w, V x) {
  return {sums_of_four(w.a, x.a), sums_of_four(w.b, x.b)};
}
inline I dot(V w, V x) {
  return dot_signed(w, x);
}  // codes of at most 127 have no sign

template <int n>
I fields(uint32_t word) {
  const int32_t shifts[] = {0, -n, -2 * n, -3 * n, -4 * n, -5 * n, -6 * n, -7 * n};
  const auto four = [&](const int32_t* by) {
    const uint32x4_t all = vshlq_u32(vdupq_n_u32(word), vld1q_s32(by));
    return vreinterpretq_s32_u32(vandq_u32(all, vdupq_n_u32((1u << n) - 1)));
  };
  return {four(shifts), four(shifts + 4)};
}

inline F to_floats(I i) {
  return {vcvtq_f32_s32(i.a), vcvtq_f32_s32(i.b)};
}
inline F bytes_to_floats(uint64_t u) {
  const uint16x8_t wide = vmovl_u8(vcreate_u8(u));
  return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(wide)))};
}
inline F signed_bytes_to_floats(uint64_t u) {
  const int16x8_t wide = vmovl_s8(vcreate_s8(u));
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)))};
}

inline F powers_of_two(uint64_t exponents) {
  // As mxfp4_scale().
  const uint16x8_t wide = vmovl_u8(vcreate_u8(exponents));
  const auto power = [](uint32x4_t e) {
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t denormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), denormal, normal));
  };
  return {power(vmovl_u16(vget_low_u16(wide))), power(vmovl_u16(vget_high_u16(wide)))};
}
inline F floats_of_8_bits(uint64_t bytes) {
  // As nvfp4_scale().
  const uint16x8_t wide = vmovl_u8(vcreate_u8(bytes));
  const auto value = [](uint32x4_t byte) {
    const uint32x4_t rest = vandq_u32(byte, vdupq_n_u32(0x7f)), bits = vshlq_n_u32(rest, 20);
    const uint32x4_t normal = vaddq_u32(bits, vdupq_n_u32(119u << 23));
    const float32x4_t small =
        vsubq_f32(vreinterpretq_f32_u32(vaddq_u32(bits, vdupq_n_u32(120u << 23))), vdupq_n_f32(0x1p-7f));
    const uint32x4_t either =
        vbslq_u32(vcltq_u32(rest, vdupq_n_u32(8)), vreinterpretq_u32_f32(small), normal);
    return vreinterpretq_f32_u32(vbicq_u32(either, vceqq_u32(byte, vdupq_n_u32(0x7f))));
  };
  return {value(vmovl_u16(vget_low_u16(wide))), value(vmovl_u16(vget_high_u16(wide)))};
}
