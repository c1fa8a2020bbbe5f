// Products of small matrices as they lie, of any size, in vectors of columns of the right one, and triangular
// systems. Included once per Highway target, as its name says.
#if defined(LORA_KERNELS_DELTA_RULE_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LORA_KERNELS_DELTA_RULE_PRODUCTS_INL_H_
#undef LORA_KERNELS_DELTA_RULE_PRODUCTS_INL_H_
#else
#define LORA_KERNELS_DELTA_RULE_PRODUCTS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// Rows and vectors that are summed up in registers at a time: 12 of 16 registers.
constexpr int kRows = 6;

// The first n numbers of a vector, the others 0: nothing behind them is touched.
HWY_INLINE V LoadFirst(D d, const float* from, int64_t n) {
  HWY_ALIGN float first[hn::MaxLanes(d)] = {};
  std::copy_n(from, n, first);
  return hn::Load(d, first);
}
HWY_INLINE void StoreFirst(V value, D d, float* to, int64_t n) {
  HWY_ALIGN float first[hn::MaxLanes(d)];
  hn::Store(value, d, first);
  std::copy_n(first, n, to);
}

// Element (i, k) at data[i * row + k * col].
struct Left {
  const float* data;
  int64_t row, col;
};
// What of the left matrix, or of the result, is there: all; j <= i; j >= i. Elements of blocks of kRows rows
// that are not are zero, or not looked at.
enum class Part { all, lower, upper };

// c = factor c + sign l r for kN rows and kVectors vectors, the last of which has n_last numbers. With factor
// 0 c is not read.
template <int kN, int kVectors, bool kPartial>
HWY_INLINE void Block(float* c, int64_t c_row, const Left& l, const float* r, int64_t r_row, int64_t begin,
                      int64_t end, float factor, float sign, int64_t n_last) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const auto load = [&](const float* from, int v) HWY_ATTR {
    if (kPartial && v == kVectors - 1) return LoadFirst(d, from + v * lanes, n_last);
    return hn::LoadU(d, from + v * lanes);
  };
  V sum[kN][kVectors];
  for (int i = 0; i < kN; ++i) {
    for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(d);
  }
  for (int64_t k = begin; k < end; ++k) {
    V right[kVectors];
    for (int v = 0; v < kVectors; ++v) right[v] = load(r + k * r_row, v);
    for (int i = 0; i < kN; ++i) {
      const V left = hn::Set(d, l.data[i * l.row + k * l.col]);
      for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::MulAdd(left, right[v], sum[i][v]);
    }
  }
  const V s = hn::Set(d, sign), f = hn::Set(d, factor);
  for (int i = 0; i < kN; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      V value = hn::Mul(s, sum[i][v]);
      if (factor != 0) value = hn::MulAdd(f, load(c + i * c_row, v), value);
      if (kPartial && v == kVectors - 1) {
        StoreFirst(value, d, c + i * c_row + v * lanes, n_last);
      } else {
        hn::StoreU(value, d, c + i * c_row + v * lanes);
      }
    }
  }
}

template <int kVectors, bool kPartial>
HWY_INLINE void Rows(int64_t n, float* c, int64_t c_row, const Left& l, const float* r, int64_t r_row,
                     int64_t begin, int64_t end, float factor, float sign, int64_t n_last) {
  switch (n) {
    case 1:
      return Block<1, kVectors, kPartial>(c, c_row, l, r, r_row, begin, end, factor, sign, n_last);
    case 2:
      return Block<2, kVectors, kPartial>(c, c_row, l, r, r_row, begin, end, factor, sign, n_last);
    case 3:
      return Block<3, kVectors, kPartial>(c, c_row, l, r, r_row, begin, end, factor, sign, n_last);
    case 4:
      return Block<4, kVectors, kPartial>(c, c_row, l, r, r_row, begin, end, factor, sign, n_last);
    case 5:
      return Block<5, kVectors, kPartial>(c, c_row, l, r, r_row, begin, end, factor, sign, n_last);
    default:
      return Block<kRows, kVectors, kPartial>(c, c_row, l, r, r_row, begin, end, factor, sign, n_last);
  }
}

struct Size {
  int64_t m, n, k;
};

// c (m, n) = factor c + sign l (m, k) r (k, n)
HWY_ATTR void Product(float* c, int64_t c_row, const Left& l, const float* r, int64_t r_row, const Size& size,
                      float factor = 0, float sign = 1, Part of_left = Part::all, Part of_c = Part::all) {
  const int64_t lanes = int64_t(hn::Lanes(D()));
  for (int64_t j = 0; j < size.n;) {
    const int64_t left = size.n - j, n_vectors = left > lanes ? 2 : 1;
    const int64_t n_last = std::min(lanes, left - (n_vectors - 1) * lanes);
    for (int64_t i = 0; i < size.m; i += kRows) {
      const int64_t n = std::min<int64_t>(kRows, size.m - i);
      if (of_c == Part::lower && j >= i + n) continue;
      const int64_t begin = of_left == Part::upper ? i : 0;
      const int64_t end = of_left == Part::lower ? std::min(size.k, i + n) : size.k;
      const Left at{l.data + i * l.row, l.row, l.col};
      float* to = c + i * c_row + j;
      if (n_vectors == 2) {
        if (n_last == lanes)
          Rows<2, false>(n, to, c_row, at, r + j, r_row, begin, end, factor, sign, lanes);
        else
          Rows<2, true>(n, to, c_row, at, r + j, r_row, begin, end, factor, sign, n_last);
      } else {
        if (n_last == lanes)
          Rows<1, false>(n, to, c_row, at, r + j, r_row, begin, end, factor, sign, lanes);
        else
          Rows<1, true>(n, to, c_row, at, r + j, r_row, begin, end, factor, sign, n_last);
      }
    }
    j += n_vectors * lanes;
  }
}

// Of n rows of a block: x_i -= sum of t_ij z_j over those before (or behind) it in the block, z_i = factor_i
// x_i.
template <bool kUpward>
HWY_ATTR void SolveBlock(float* x, float* z, int64_t row, const float* t, int64_t t_row, const float* factors,
                         int64_t n, int64_t n_cols) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  for (int64_t c = 0; c < n_cols; c += lanes) {  // rows are padded to whole vectors
    for (int64_t step = 0; step < n; ++step) {
      const int64_t i = kUpward ? n - 1 - step : step;
      V value = hn::LoadU(d, x + i * row + c);
      const int64_t begin = kUpward ? i + 1 : 0, end = kUpward ? n : i;
      for (int64_t j = begin; j < end; ++j) {
        const float f = kUpward ? t[j * t_row + i] : t[i * t_row + j];
        value = hn::NegMulAdd(hn::Set(d, f), hn::LoadU(d, z + j * row + c), value);
      }
      hn::StoreU(value, d, x + i * row + c);
      hn::StoreU(hn::Mul(hn::Set(d, factors[i]), value), d, z + i * row + c);
    }
  }
}

// t (n, n) strictly lower: x_i = b_i - sum over j < i of t_ij z_j, z_i = factor_i x_i; b is in x.
HWY_ATTR void SolveLower(float* x, float* z, int64_t row, const float* t, int64_t t_row, const float* factors,
                         int64_t n, int64_t n_cols) {
  for (int64_t i = 0; i < n; i += kRows) {
    const int64_t n_rows = std::min<int64_t>(kRows, n - i);
    if (i > 0) Product(x + i * row, row, {t + i * t_row, t_row, 1}, z, row, {n_rows, n_cols, i}, 1, -1);
    SolveBlock<false>(x + i * row, z + i * row, row, t + i * t_row + i, t_row, factors + i, n_rows, n_cols);
  }
}
// The same with t turned: x_j = b_j - sum over i > j of t_ij z_i.
HWY_ATTR void SolveUpper(float* x, float* z, int64_t row, const float* t, int64_t t_row, const float* factors,
                         int64_t n, int64_t n_cols) {
  for (int64_t i = (n - 1) / kRows * kRows; i >= 0; i -= kRows) {
    const int64_t n_rows = std::min<int64_t>(kRows, n - i), next = i + n_rows;
    if (next < n)
      Product(x + i * row, row, {t + next * t_row + i, 1, t_row}, z + next * row, row,
              {n_rows, n_cols, n - next}, 1, -1);
    SolveBlock<true>(x + i * row, z + i * row, row, t + i * t_row + i, t_row, factors + i, n_rows, n_cols);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#endif
