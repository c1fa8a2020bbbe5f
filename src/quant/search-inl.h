// The search for the scales of quantized groups: the part of encoding that takes the time.
//
// A group is n consecutive values that share a scale. Sixteen groups lie side by side (encode.h), and each is
// computed by itself, its sums in the order of its values: so vectors are as wide as a kernel set has them,
// and the results are the same bits for all.
//
// Rounding x -> integers q with some scale leaves a best scale for these q, that of least squares. Several
// roundings are tried, and the one that leaves the least squared error, each value's times its weight, wins.
//
// No include guard: this is compiled for plain numbers in types.cc and once per kernel set in kernels/encode.
// Who includes it defines LORA_SEARCH_NAMESPACE and LORA_SEARCH_LANES, the numbers in a vector: 1, 4, 8
// or 16.

namespace lora {
namespace LORA_SEARCH_NAMESPACE {

#if LORA_SEARCH_LANES == 1
using Lanes = float;
using IntLanes = int32_t;
using ByteLanes = uint8_t;
#else
typedef float Lanes __attribute__((vector_size(LORA_SEARCH_LANES * 4)));
typedef int32_t IntLanes __attribute__((vector_size(LORA_SEARCH_LANES * 4)));
typedef uint8_t ByteLanes __attribute__((vector_size(LORA_SEARCH_LANES)));
#endif

inline Lanes load_lanes(const float* from) {
  Lanes v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
inline void store_lanes(float* to, Lanes v) {
  std::memcpy(to, &v, sizeof v);
}
inline Lanes all_lanes(float value) {
  return Lanes{} + value;
}
inline Lanes smaller(Lanes a, Lanes b) {
  return a < b ? a : b;
}
inline Lanes larger(Lanes a, Lanes b) {
  return a > b ? a : b;
}
// 1 / v, and 0 for a v that is as good as 0.
inline Lanes inverse(Lanes v) {
  return larger(v, -v) > 1e-30f ? all_lanes(1) / v : Lanes{};
}

// v to the nearest integer (to even), clamped, as the bits of a float from 1.5 x 2^23 on, where the last bit
// is worth
// 1. Such bits grow with v, also beyond the range where this rounds, and so are clamped as integers.
inline constexpr float kRounding = 12582912.0f;
inline constexpr int32_t kRoundingBits = 0x4b400000;
inline IntLanes rounding_bits(Lanes v, int lowest, int highest) {
  const Lanes sum = v + kRounding;
  IntLanes bits;
  std::memcpy(&bits, &sum, sizeof bits);
  const IntLanes low = IntLanes{} + (kRoundingBits + lowest), high = IntLanes{} + (kRoundingBits + highest);
  bits = bits > low ? bits : low;
  return bits < high ? bits : high;
}

// The integers lowest..highest.
struct Integers {
  int lowest, highest;
  Lanes operator()(Lanes v) const {
    const IntLanes bits = rounding_bits(v, lowest, highest);
    Lanes sum;
    std::memcpy(&sum, &bits, sizeof sum);
    return sum - kRounding;
  }
};

// Some ascending numbers.
template <int count>
struct Levels {
  const int8_t (&levels)[count];
  Lanes operator()(Lanes v) const {
    Lanes q = all_lanes(levels[0]);
    for (int k = 1; k < count; ++k) {
      q = v > float(levels[k - 1] + levels[k]) * 0.5f ? all_lanes(levels[k]) : q;
    }
    return q;
  }
};

// The groups from g on, as many as there are lanes.
template <int n, bool weighted>
struct GroupLanes {
  const float *x, *w;
  GroupLanes(const SearchInput<n>& input, int g) : x(input.x + g), w(input.w + g) {}
  Lanes value(int i) const { return load_lanes(x + i * kSearchGroups); }
  Lanes weight(int i) const { return weighted ? load_lanes(w + i * kSearchGroups) : all_lanes(1); }
};

// Sums over a group: of w, w x, w q, w q q, w x q.
template <int n, bool weighted, class Quantizer>
inline RangeSums<Lanes> range_sums_of(const GroupLanes<n, weighted>& group, Lanes inverse_scale,
                                      Lanes minimum, const Quantizer& quantize) {
  RangeSums<Lanes> sums = {};
  for (int i = 0; i < n; ++i) {
    const Lanes x = group.value(i), w = group.weight(i), q = quantize((x + minimum) * inverse_scale),
                wq = w * q;
    sums.w += w;
    sums.x += w * x;
    sums.q += wq;
    sums.qq += wq * q;
    sums.xq += wq * x;
  }
  return sums;
}

template <int n, bool weighted, class Quantizer>
inline ScaleSums<Lanes> scale_sums_of(const GroupLanes<n, weighted>& group, Lanes inverse_scale,
                                      const Quantizer& quantize) {
  ScaleSums<Lanes> sums = {};
  for (int i = 0; i < n; ++i) {
    const Lanes x = group.value(i), q = quantize(x * inverse_scale), wq = group.weight(i) * q;
    sums.xq += wq * x;
    sums.qq += wq * q;
  }
  return sums;
}

template <int n, bool weighted, class Quantizer>
void search_scales(float* scale, const SearchInput<n>& input, const Quantizer& quantize,
                   std::span<const float> targets, int polish) {
  for (int g = 0; g < kSearchGroups; g += LORA_SEARCH_LANES) {
    const GroupLanes<n, weighted> group(input, g);
    Lanes largest{}, magnitude{};
    for (int i = 0; i < n; ++i) {
      const Lanes x = group.value(i), m = larger(x, -x);
      largest = m > magnitude ? x : largest;
      magnitude = larger(m, magnitude);
    }
    Lanes best{}, best_gain{};
    const auto attempt = [&](Lanes inverse_scale) {
      const ScaleSums<Lanes> sums = scale_sums_of(group, inverse_scale, quantize);
      const Lanes fit = sums.xq * inverse(sums.qq), gain = fit * sums.xq;
      best = gain > best_gain ? fit : best;
      best_gain = larger(gain, best_gain);
    };
    const Lanes per_target = inverse(largest);
    for (float target : targets) attempt(per_target * target);
    for (int i = 0; i < polish; ++i) attempt(inverse(best));
    store_lanes(scale + g, best);
  }
}

template <int n, bool weighted>
void search_ranges(float* scale, float* minimum, const SearchInput<n>& input, int highest, bool below_zero,
                   std::span<const float> targets, int polish) {
  const Integers quantize{0, highest};
  for (int g = 0; g < kSearchGroups; g += LORA_SEARCH_LANES) {
    const GroupLanes<n, weighted> group(input, g);
    Lanes low = group.value(0), high = low, sum_w{}, sum_x{};
    for (int i = 0; i < n; ++i) {
      const Lanes x = group.value(i), w = group.weight(i);
      low = smaller(x, low);
      high = larger(x, high);
      sum_w += w;
      sum_x += w * x;
    }
    if (below_zero) low = smaller(low, Lanes{});
    // To begin with, all q = 0.
    Lanes best{}, best_minimum = -sum_x * inverse(sum_w);
    if (below_zero) best_minimum = larger(best_minimum, Lanes{});
    Lanes best_gain = -best_minimum * (sum_x + sum_x + best_minimum * sum_w);
    const auto attempt = [&](Lanes inverse_scale, Lanes offset) {
      Lanes sum_q{}, qq{}, xq{};
      for (int i = 0; i < n; ++i) {
        const Lanes x = group.value(i), q = quantize((x + offset) * inverse_scale), wq = group.weight(i) * q;
        sum_q += wq;
        qq += wq * q;
        xq += wq * x;
      }
      // Singular if all q are the same.
      const Lanes determinant = sum_w * qq - sum_q * sum_q;
      const Lanes per_determinant = determinant > sum_w * qq * 1e-6f ? inverse(determinant) : Lanes{};
      Lanes fit = (sum_w * xq - sum_x * sum_q) * per_determinant;
      Lanes fit_minimum = (sum_q * xq - qq * sum_x) * per_determinant;
      if (below_zero) {
        const auto at_zero = fit_minimum <= 0;
        fit = at_zero ? xq * inverse(qq) : fit;
        fit_minimum = at_zero ? Lanes{} : fit_minimum;
      }
      const Lanes gain = fit * xq - fit_minimum * sum_x;
      const auto better = gain > best_gain;
      best = better ? fit : best;
      best_minimum = better ? fit_minimum : best_minimum;
      best_gain = better ? gain : best_gain;
    };
    const Lanes per_target = inverse(high - low);
    for (float target : targets) attempt(per_target * target, -low);
    for (int i = 0; i < polish; ++i) attempt(inverse(best), best_minimum);
    store_lanes(scale + g, best);
    store_lanes(minimum + g, best_minimum);
  }
}

// What encoders call; without importance nothing is multiplied by it.
struct Search {
  using Integers = LORA_SEARCH_NAMESPACE::Integers;
  template <int count>
  using Levels = LORA_SEARCH_NAMESPACE::Levels<count>;

  // value = scale * q. The q tried are the nearest if the group's value of largest magnitude were mapped to
  // each of the targets; then, `polish` times, with the best scale so far.
  template <int n, class Quantizer>
  static void scales(float* scale, const SearchInput<n>& input, const Quantizer& quantize,
                     std::span<const float> targets, int polish) {
    const auto search =
        input.weighted ? search_scales<n, true, Quantizer> : search_scales<n, false, Quantizer>;
    search(scale, input, quantize, targets, polish);
  }

  // value = scale * q - minimum, q an integer in 0..highest; minimum >= 0 if `below_zero`. Targets: of the
  // length of the group's range, in which 0 is if `below_zero`.
  template <int n>
  static void ranges(float* scale, float* minimum, const SearchInput<n>& input, int highest, bool below_zero,
                     std::span<const float> targets, int polish) {
    const auto search = input.weighted ? search_ranges<n, true> : search_ranges<n, false>;
    search(scale, minimum, input, highest, below_zero, targets, polish);
  }

  // The sums over each group, rounded with these scales, and minimums.
  template <int n, class Quantizer>
  static void scale_sums(ScaleSums<float[kSearchGroups]>& sums, const float* scale,
                         const SearchInput<n>& input, const Quantizer& quantize) {
    for (int g = 0; g < kSearchGroups; g += LORA_SEARCH_LANES) {
      const GroupLanes<n, true> group(input, g);
      const ScaleSums<Lanes> s = scale_sums_of(group, inverse(load_lanes(scale + g)), quantize);
      store_lanes(sums.xq + g, s.xq);
      store_lanes(sums.qq + g, s.qq);
    }
  }
  template <int n>
  static void range_sums(RangeSums<float[kSearchGroups]>& sums, const float* scale, const float* minimum,
                         const SearchInput<n>& input, int highest) {
    for (int g = 0; g < kSearchGroups; g += LORA_SEARCH_LANES) {
      const GroupLanes<n, true> group(input, g);
      const RangeSums<Lanes> s =
          range_sums_of(group, inverse(load_lanes(scale + g)), load_lanes(minimum + g), Integers{0, highest});
      store_lanes(sums.w + g, s.w);
      store_lanes(sums.x + g, s.x);
      store_lanes(sums.q + g, s.q);
      store_lanes(sums.qq + g, s.qq);
      store_lanes(sums.xq + g, s.xq);
    }
  }

  // q[i] = (x[i] + minimum) / scale, rounded and clamped, minus lowest; n a multiple of 16.
  template <int n>
  static void integers(uint8_t* q, const float* x, float scale, float minimum, Integers range) {
    const float per_scale = inverse_scale(scale);
    for (int i = 0; i < n; i += LORA_SEARCH_LANES) {
      const IntLanes bits =
          rounding_bits((load_lanes(x + i) + minimum) * per_scale, range.lowest, range.highest);
#if LORA_SEARCH_LANES == 1
      q[i] = uint8_t(bits - (kRoundingBits + range.lowest));
#else
      const ByteLanes bytes = __builtin_convertvector(bits - (kRoundingBits + range.lowest), ByteLanes);
      std::memcpy(q + i, &bytes, sizeof bytes);
#endif
    }
  }
};

}  // namespace LORA_SEARCH_NAMESPACE
}  // namespace lora
