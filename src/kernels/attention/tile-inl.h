// The tile arithmetic of attention, once per Highway target.
//
// A tile has kColumns columns side by side in vector lanes: queries in the forward pass and for dq, keys for
// dk and dv. Whatever belongs to a column (running maximum, sum, lse) is then a vector,
// softmax needs no sum across lanes, and any head_dim fits, since it is never a lane. The other
// operand is read as it lies in memory, one number broadcast at a time.
#if defined(LORA_KERNELS_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LORA_KERNELS_ATTENTION_TILE_INL_H_
#undef LORA_KERNELS_ATTENTION_TILE_INL_H_
#else
#define LORA_KERNELS_ATTENTION_TILE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/attention/tile.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// A matrix as Multiply reads it: element (r, s) is data[r * row + s * step].
struct Strided {
  const float* data;
  int64_t row, step;
  Strided transposed() const { return {data, step, row}; }
};

// What becomes of a product: stored, added to c, or added to c * factor (one factor a column).
enum class Into { set, add, scaled };

// Rows of c (+)= a b, for kRows rows: c[r][j] = sum_s a(r, s) b[s][j]. Two vectors of columns and
// kRows rows of sums stay in registers.
template <Into kInto, int kRows>
HWY_INLINE void MultiplyRows(float* HWY_RESTRICT c, Strided a, const float* HWY_RESTRICT b, int64_t n_steps,
                             const float* factor) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t j = 0; j < kColumns; j += 2 * lanes) {
    V left[kRows], right[kRows];
    for (int r = 0; r < kRows; ++r) left[r] = right[r] = hn::Zero(d);
    const float* a_s = a.data;
    for (int64_t s = 0; s < n_steps; ++s, a_s += a.step) {
      const V b0 = hn::Load(d, b + s * kColumns + j), b1 = hn::Load(d, b + s * kColumns + j + lanes);
      for (int r = 0; r < kRows; ++r) {
        const V a_rs = hn::Set(d, a_s[r * a.row]);
        left[r] = hn::MulAdd(a_rs, b0, left[r]);
        right[r] = hn::MulAdd(a_rs, b1, right[r]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      float* c_r = c + r * kColumns + j;
      if (kInto == Into::add) {
        left[r] = hn::Add(left[r], hn::Load(d, c_r));
        right[r] = hn::Add(right[r], hn::Load(d, c_r + lanes));
      } else if (kInto == Into::scaled) {
        left[r] = hn::MulAdd(hn::Load(d, c_r), hn::Load(d, factor + j), left[r]);
        right[r] = hn::MulAdd(hn::Load(d, c_r + lanes), hn::Load(d, factor + j + lanes), right[r]);
      }
      hn::Store(left[r], d, c_r);
      hn::Store(right[r], d, c_r + lanes);
    }
  }
}

// 16 vector registers hold 4 x 2 sums, 32 hold 8 x 2 with room for the operands.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SCALAR
constexpr int kRowBlock = 4;
#else
constexpr int kRowBlock = 8;
#endif

template <Into kInto>
void Multiply(float* c, Strided a, const float* b, int64_t n_rows, int64_t n_steps,
              const float* factor = nullptr) {
  int64_t r = 0;
  for (; r + kRowBlock <= n_rows; r += kRowBlock) {
    MultiplyRows<kInto, kRowBlock>(c + r * kColumns, {a.data + r * a.row, a.row, a.step}, b, n_steps, factor);
  }
  for (; r + 2 <= n_rows; r += 2) {
    MultiplyRows<kInto, 2>(c + r * kColumns, {a.data + r * a.row, a.row, a.step}, b, n_steps, factor);
  }
  if (r < n_rows) {
    MultiplyRows<kInto, 1>(c + r * kColumns, {a.data + r * a.row, a.row, a.step}, b, n_steps, factor);
  }
}

// Four rows of four numbers, transposed.
HWY_INLINE void Transpose4x4(float* to, int64_t to_row, const float* from, int64_t from_row) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t r = 0; r < 4; ++r) {
    for (int64_t c = 0; c < 4; ++c) to[c * to_row + r] = from[r * from_row + c];
  }
#else
  const HWY_CAPPED(float, 4) d;
  const hn::Repartition<double, decltype(d)> dd;  // a pair of floats at a time
  const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + from_row);
  const auto r2 = hn::LoadU(d, from + 2 * from_row), r3 = hn::LoadU(d, from + 3 * from_row);
  const auto low01 = hn::BitCast(dd, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(dd, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(dd, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(dd, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, low01, low23)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, low01, low23)), d, to + to_row);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, high01, high23)), d, to + 2 * to_row);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, high01, high23)), d, to + 3 * to_row);
#endif
}

void Transpose(float* to, int64_t to_row, const float* from, int64_t from_row, int64_t n_rows,
               int64_t n_columns) {
  const int64_t rows4 = n_rows / 4 * 4, columns4 = n_columns / 4 * 4;
  for (int64_t r = 0; r < rows4; r += 4) {
    for (int64_t c = 0; c < columns4; c += 4) {
      Transpose4x4(to + c * to_row + r, to_row, from + r * from_row + c, from_row);
    }
  }
  for (int64_t r = 0; r < n_rows; ++r) {
    for (int64_t c = r < rows4 ? columns4 : 0; c < n_columns; ++c)
      to[c * to_row + r] = from[r * from_row + c];
  }
}

// Rows of q, k, v or dout (n_rows <= kColumns, `row` apart) become columns, times scale; columns beyond them
// are zero.
void ToColumns(float* columns, const float* from, int64_t row, int64_t n_rows, int64_t head_dim,
               float scale) {
  const D d;
  if (n_rows < kColumns) std::fill(columns, columns + head_dim * kColumns, 0.0f);
  Transpose(columns, kColumns, from, row, n_rows, head_dim);
  if (scale == 1) return;
  for (int64_t i = 0; i < head_dim * kColumns; i += hn::Lanes(d)) {
    hn::Store(hn::Mul(hn::Load(d, columns + i), hn::Set(d, scale)), d, columns + i);
  }
}

// Rows of a tile, packed. In place they lie n_head_kv * head_dim floats apart, often a power of two, and
// would compete for the same few lines of the cache.
Strided Pack(float* to, const float* from, int64_t row, int64_t n_rows, int64_t head_dim) {
  for (int64_t r = 0; r < n_rows; ++r) std::copy_n(from + r * row, head_dim, to + r * head_dim);
  return {to, head_dim, 1};
}

// The way back: columns times one factor each become rows. Four rows at a time, each written along
// its length: they lie far apart, and all of them at once would compete for the same lines of the cache.
void ToRows(float* to, int64_t row, float* columns, const float* factor, int64_t n_rows, int64_t head_dim) {
  const D d;
  for (int64_t c = 0; c < head_dim; ++c) {
    for (int64_t j = 0; j < kColumns; j += hn::Lanes(d)) {
      float* at = columns + c * kColumns + j;
      hn::Store(hn::Mul(hn::Load(d, at), hn::Load(d, factor + j)), d, at);
    }
  }
  for (int64_t j = 0; j < n_rows; j += 4) {
    Transpose(to + j * row, row, columns + j, kColumns, head_dim, std::min<int64_t>(4, n_rows - j));
  }
}

// Scores of a tile with keys j0 .. as rows and queries as columns: column i sees keys below n_visible + i.
void HideLaterKeys(float* scores, int64_t j0, int64_t n_rows, int64_t n_visible) {
  const D d;
  for (int64_t r = std::max<int64_t>(0, n_visible - j0); r < n_rows; ++r) {
    const V last_hidden = hn::Set(d, float(j0 + r - n_visible));
    for (int64_t c = 0; c < kColumns; c += hn::Lanes(d)) {
      float* at = scores + r * kColumns + c;
      const auto hidden = hn::Le(hn::Iota(d, float(c)), last_hidden);
      hn::Store(hn::IfThenElse(hidden, hn::Set(d, -std::numeric_limits<float>::infinity()), hn::Load(d, at)),
                d, at);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#endif
