#include "kernels/dot/dot.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dot/dot.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <algorithm>
#include <vector>

#include "base/half.h"
#include "kernels/decode/decode.h"
#include "kernels/dot/dot_reference.h"
#include "kernels/dot/int8.h"
#include "kernels/dot/int8_reference.h"
#include "kernels/isa.h"

#ifndef LORA_KERNELS_DOT_DOT_CC_
#define LORA_KERNELS_DOT_DOT_CC_
namespace lora {
using FloatDot = float (*)(const float* x, const std::byte* row, int64_t n);
}
#endif

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;

HWY_ATTR HWY_INLINE hn::Vec<D> LoadFloats(D d, const float* p) {
  return hn::LoadU(d, p);
}
HWY_ATTR HWY_INLINE hn::Vec<D> LoadFloats(D d, const bf16* p) {
  const hn::Rebind<uint16_t, D> half;
  const hn::RebindToUnsigned<D> wide;
  const auto u = hn::LoadU(half, reinterpret_cast<const uint16_t*>(p));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, u)));
}
HWY_ATTR HWY_INLINE hn::Vec<D> LoadFloats(D d, const f16* p) {
  const hn::Rebind<hwy::float16_t, D> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(p)));
}

inline float ToFloat(float f) {
  return f;
}
template <class T>
float ToFloat(T h) {
  return to_f32(h);
}

// Four chains hide the multiply-add's latency.
template <class T>
HWY_ATTR float Dot(const float* HWY_RESTRICT x, const T* HWY_RESTRICT y, int64_t n) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, x + i), LoadFloats(d, y + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, x + i + lanes), LoadFloats(d, y + i + lanes), s1);
    s2 = hn::MulAdd(hn::LoadU(d, x + i + 2 * lanes), LoadFloats(d, y + i + 2 * lanes), s2);
    s3 = hn::MulAdd(hn::LoadU(d, x + i + 3 * lanes), LoadFloats(d, y + i + 3 * lanes), s3);
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::MulAdd(hn::LoadU(d, x + i), LoadFloats(d, y + i), s0);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += x[i] * ToFloat(y[i]);
  return sum;
}

template <class T>
HWY_ATTR float DotWith(const float* HWY_RESTRICT x, const std::byte* HWY_RESTRICT row, int64_t n) {
  return Dot(x, reinterpret_cast<const T*>(row), n);
}

FloatDot FindDot(Type type) {
  switch (type) {
    case Type::F32:
      return DotWith<float>;
    case Type::F16:
      return DotWith<f16>;
    case Type::BF16:
      return DotWith<bf16>;
    default:
      return nullptr;
  }
}

HWY_ATTR void RoundToInt8(int8_t* HWY_RESTRICT q, float* HWY_RESTRICT d, float* HWY_RESTRICT sums,
                          float* HWY_RESTRICT sums16, const float* HWY_RESTRICT x, int64_t n) {
  round_to_int8(q, d, sums, sums16, x, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(FindDot);
HWY_EXPORT(RoundToInt8);

float scalar_dot(const float* x, const std::byte* row, int64_t n) {
  return dot_reference(x, reinterpret_cast<const float*>(row), n);
}

// For weights of floats; nullptr for others, and in the scalar kernel set for all but F32.
FloatDot float_dot(Type type) {
  if (isa() == Isa::scalar) return type == Type::F32 ? scalar_dot : nullptr;
  return HWY_DYNAMIC_DISPATCH(FindDot)(type);
}

struct Tokens {
  const float* x;
  std::vector<Int8Row> rounded;  // empty where no product wants them
  int64_t count;
};

// How one weight is multiplied; looked up once per product.
class Kernel {
 public:
  Kernel(const DotProduct& product, DotInput input)
      : product_(product),
        integers_(input == DotInput::int8 ? int8_dot(product.w.type) : nullptr),
        floats_(float_dot(product.w.type)),
        decoded_(float_dot(Type::F32)),
        decode_(product.w) {}

  bool wants_rounded() const { return integers_ != nullptr; }
  int64_t n_rows() const { return product_.w.n_rows; }

  void operator()(const Tokens& tokens, int64_t begin, int64_t end) const {
    const int64_t n = product_.w.n_cols, row_bytes = product_.w.row_bytes();
    for (int64_t o = begin; o < end; ++o) {
      const std::byte* row = product_.w.data + o * row_bytes;
      float sums[kDotTokens] = {};
      if (integers_) {
        for (int64_t t = 0; t < tokens.count; ++t) sums[t] = integers_(row, tokens.rounded[size_t(t)], n);
      } else if (floats_) {
        for (int64_t t = 0; t < tokens.count; ++t) sums[t] = floats_(tokens.x + t * n, row, n);
      } else {
        add_decoded(sums, tokens, o);
      }
      for (int64_t t = 0; t < tokens.count; ++t) {
        float& y = product_.y[t * product_.w.n_rows + o];
        y = product_.accumulate ? y + sums[t] : sums[t];
      }
    }
  }

 private:
  void add_decoded(float* sums, const Tokens& tokens, int64_t row) const {
    constexpr int64_t kPiece = 2048;  // columns decoded at a time: 8 KB, a multiple of every block size
    alignas(64) float values[kPiece];
    const int64_t n = product_.w.n_cols;
    for (int64_t i = 0; i < n; i += kPiece) {
      const int64_t n_values = std::min(kPiece, n - i);
      decode_(values, row, i, i + n_values);
      for (int64_t t = 0; t < tokens.count; ++t) {
        sums[t] += decoded_(tokens.x + t * n + i, reinterpret_cast<const std::byte*>(values), n_values);
      }
    }
  }

  const DotProduct& product_;
  Int8Dot integers_;
  FloatDot floats_, decoded_;
  RowDecoder decode_;
};

// Blocks of 32 activations, a multiple of the eight that int8 kernels read at a time.
int64_t blocks_of(int64_t n_in) {
  return (n_in + 255) / 256 * 8;
}

int64_t bytes_per_token(int64_t n_in) {
  return blocks_of(n_in) * int64_t(32 + 4 * sizeof(float));
}

Int8Row rounded_row(std::byte* scratch, const float* x, int64_t n) {
  const int64_t n_blocks = blocks_of(n);
  auto* q = reinterpret_cast<int8_t*>(scratch);
  auto* d = reinterpret_cast<float*>(scratch + 32 * n_blocks);
  float *sums = d + n_blocks, *sums16 = sums + n_blocks;
  if (isa() == Isa::scalar) {
    round_to_int8(q, d, sums, sums16, x, n);
  } else {
    HWY_DYNAMIC_DISPATCH(RoundToInt8)(q, d, sums, sums16, x, n);
  }
  // Kernels read eight blocks at a time and multiply those behind the last by weights of zero: what lies
  // there must be a number.
  std::fill(d + n / 32, d + n_blocks, 0.0f);
  std::fill(sums + n / 32, sums + n_blocks, 0.0f);
  std::fill(sums16 + n / 16, sums16 + 2 * n_blocks, 0.0f);
  return {q, d, sums, sums16};
}

}  // namespace

DotInput dot_input(Precision precision) {
  return precision == Precision::f32 ? DotInput::f32 : DotInput::int8;
}

int64_t dot_scratch_bytes(int64_t n_tokens, int64_t n_in) {
  return n_tokens * bytes_per_token(n_in);
}

void dot_rows(std::span<const DotGroup> groups, DotInput input, std::byte* scratch, ThreadPool& pool) {
  if (groups.empty() || groups[0].products.empty() || pool.is_dry()) return;  // rounding is not the pool's
  const int64_t n_in = groups[0].products[0].w.n_cols;
  std::vector<Kernel> kernels;
  std::vector<const Tokens*> reads;  // what each product multiplies
  std::vector<Tokens> tokens;        // of the groups
  std::vector<int64_t> ends;         // rows of the products up to this one
  tokens.reserve(groups.size());
  int64_t n_rows = 0, bytes = 0;
  for (const DotGroup& group : groups) {
    Tokens& of_group = tokens.emplace_back(Tokens{group.x, {}, group.n_tokens});
    bool wants_rounded = false;
    for (const DotProduct& product : group.products) {
      wants_rounded |= kernels.emplace_back(product, input).wants_rounded();
      reads.push_back(&of_group);
      ends.push_back(n_rows += product.w.n_rows);
      bytes += product.w.n_rows * product.w.row_bytes();
    }
    for (int64_t t = 0; t < group.n_tokens && wants_rounded; ++t, scratch += bytes_per_token(n_in)) {
      of_group.rounded.push_back(rounded_row(scratch, group.x + t * n_in, n_in));
    }
  }
  constexpr int64_t kPieceBytes = 128 << 10;  // some 5 us of reading
  const int64_t n_pieces = std::clamp<int64_t>(bytes / kPieceBytes, 1, n_rows);
  pool.run(n_pieces, [&](int64_t piece, int) {
    const int64_t end = n_rows * (piece + 1) / n_pieces;
    for (int64_t row = n_rows * piece / n_pieces; row < end;) {
      const auto at = size_t(std::upper_bound(ends.begin(), ends.end(), row) - ends.begin());
      const int64_t first = ends[at] - kernels[at].n_rows(), stop = std::min(end, ends[at]);
      kernels[at](*reads[at], row - first, stop - first);
      row = stop;
    }
  });
}

void dot_rows(std::span<const DotProduct> products, const float* x, int64_t n_tokens, DotInput input,
              std::byte* scratch, ThreadPool& pool) {
  const DotGroup group = {products, x, n_tokens};
  dot_rows({&group, 1}, input, scratch, pool);
}

}  // namespace lora
#endif
