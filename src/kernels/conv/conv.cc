#include "kernels/conv/conv.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/conv/conv_reference.h"
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/conv.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "kernels/activation/functions-inl.h"

#ifndef LORA_KERNELS_CONV_CONV_CC_
#define LORA_KERNELS_CONV_CONV_CC_
namespace lora {
namespace {

// Channels of a task at most: its rows, and its taps turned round, stay in the nearest cache.
constexpr int64_t kTile = 256;

// Rows [begin, end) of the segment [first, last), channels [c, c + n) of all.
struct ConvPiece {
  int64_t begin, end, first, last, c, n;
};

}  // namespace
}  // namespace lora
#endif  // LORA_KERNELS_CONV_CONV_CC_

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {

// What becomes of a row's sums: they are it, through SiLU, or SiLU's slope there times dy.
enum class End { sum, silu, slope };

template <End kEnd>
HWY_INLINE V Ended(D d, V sum, const float* dy) {
  if constexpr (kEnd == End::silu) return Silu::Value(d, sum);
  if constexpr (kEnd == End::slope) {
    V slope;
    Silu::ValueAndSlope(d, sum, slope);
    return hn::Mul(slope, hn::LoadU(d, dy));
  }
  return sum;
}

// y_i = bias_i + sum_j taps_ji rows_ji over n channels and n_rows rows; kRows is n_rows, or 0 for any.
template <End kEnd, int kRows>
void RowOf(float* y, const float* const* rows, const float* taps, int64_t n_rows, const float* bias,
           const float* dy, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d), last = kRows ? kRows : n_rows;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    V sum = hn::Load(d, bias + i);
    for (int64_t j = 0; j < last; ++j) {
      sum = hn::MulAdd(hn::Load(d, taps + j * kTile + i), hn::LoadU(d, rows[j] + i), sum);
    }
    hn::StoreU(Ended<kEnd>(d, sum, dy + i), d, y + i);
  }
  if (i < n) {  // the same operations in padded copies: a channel's bits do not depend on its place
    HWY_ALIGN float part[hn::MaxLanes(d)] = {};
    V sum = hn::Load(d, bias + i);
    for (int64_t j = 0; j < last; ++j) {
      std::copy(rows[j] + i, rows[j] + n, part);
      sum = hn::MulAdd(hn::Load(d, taps + j * kTile + i), hn::Load(d, part), sum);
    }
    if constexpr (kEnd == End::slope) std::copy(dy + i, dy + n, part);
    hn::Store(Ended<kEnd>(d, sum, part), d, part);
    std::copy(part, part + (n - i), y + i);
  }
}

template <End kEnd>
void Row(float* y, const float* const* rows, const float* taps, int64_t n_rows, const float* bias,
         const float* dy, int64_t n) {
  const auto row = n_rows == 4 ? RowOf<kEnd, 4> : n_rows == 3 ? RowOf<kEnd, 3> : RowOf<kEnd, 0>;
  row(y, rows, taps, n_rows, bias, dy, n);
}

// A tile's weights, tap by tap, and its biases; zeros behind its channels.
struct Taps {
  HWY_ALIGN float taps[kMaxConv * kTile];
  HWY_ALIGN float bias[kTile];
  HWY_ALIGN float zeros[kTile];  // of a sum without bias

  Taps(const ConvForm& form, int64_t c, int64_t n) {
    const int64_t n_padded = (n + 15) / 16 * 16;  // lanes at most
    std::fill(zeros, zeros + n_padded, 0.0f);
    std::fill(bias, bias + n_padded, 0.0f);
    if (form.bias) std::copy(form.bias + c, form.bias + c + n, bias);
    for (int64_t j = 0; j < form.d_conv; ++j) {
      for (int64_t i = 0; i < n; ++i) taps[j * kTile + i] = form.w[(c + i) * form.d_conv + j];
      std::fill(taps + j * kTile + n, taps + j * kTile + n_padded, 0.0f);
    }
  }
};

// `before`: the d_conv - 1 rows before the segment, n_channels apart; nullptr: there are none.
void Forward(float* y, int64_t y_stride, const float* x, int64_t x_stride, const float* before,
             const ConvPiece& piece, const ConvForm& form) {
  const Taps taps(form, piece.c, piece.n);
  const int64_t n_before = form.d_conv - 1;
  const auto row = form.silu ? Row<End::silu> : Row<End::sum>;
  const float* rows[kMaxConv];
  for (int64_t t = piece.begin; t < piece.end; ++t) {
    const int64_t absent = before ? 0 : std::max<int64_t>(0, n_before - (t - piece.first));
    for (int64_t j = absent; j < form.d_conv; ++j) {
      const int64_t at = t - n_before + j;
      rows[j] =
          (at < piece.first ? before + (at - piece.first + n_before) * form.n_channels : x + at * x_stride) +
          piece.c;
    }
    row(y + t * y_stride + piece.c, rows + absent, taps.taps + absent * kTile, form.d_conv - absent,
        taps.bias, taps.zeros, piece.n);
  }
}

void Backward(float* dx, int64_t dx_stride, const float* dy, int64_t dy_stride, const float* x,
              int64_t x_stride, const ConvPiece& piece, const ConvForm& form) {
  const Taps taps(form, piece.c, piece.n);
  const int64_t n_before = form.d_conv - 1;
  // With SiLU the gradients of its inputs, of the d_conv tokens from t on: that of s in row s mod d_conv.
  HWY_ALIGN float ring[kMaxConv * kTile];
  const float* rows[kMaxConv];
  int64_t next = std::min(piece.end + n_before, piece.last) - 1;  // whose gradient the ring gets next
  for (int64_t t = piece.end - 1; t >= piece.begin; --t) {
    for (; form.silu && next >= t; --next) {
      const int64_t absent = std::max<int64_t>(0, n_before - (next - piece.first));
      for (int64_t j = absent; j < form.d_conv; ++j) rows[j] = x + (next - n_before + j) * x_stride + piece.c;
      Row<End::slope>(ring + next % form.d_conv * kTile, rows + absent, taps.taps + absent * kTile,
                      form.d_conv - absent, taps.bias, dy + next * dy_stride + piece.c, piece.n);
    }
    const int64_t absent = std::max<int64_t>(0, t + form.d_conv - piece.last);
    for (int64_t j = absent; j < form.d_conv; ++j) {
      const int64_t s = t + n_before - j;
      rows[j] = form.silu ? ring + s % form.d_conv * kTile : dy + s * dy_stride + piece.c;
    }
    Row<End::sum>(dx + t * dx_stride + piece.c, rows + absent, taps.taps + absent * kTile,
                  form.d_conv - absent, taps.zeros, taps.zeros, piece.n);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(Forward);
HWY_EXPORT(Backward);

void check(const ConvForm& form) {
  if (form.d_conv < 1 || form.d_conv > kMaxConv) {
    fail("convolution: {} taps; from 1 to {} are supported", form.d_conv, kMaxConv);
  }
}

// Pieces of some rows and channels each. Turning the taps round is worth it for some tens of rows.
std::vector<ConvPiece> pieces_of(std::span<const AttentionSegment> segments, const ConvForm& form,
                                 int n_threads) {
  int64_t n_rows = 0;
  for (const AttentionSegment& segment : segments) n_rows += segment.n_q;
  const int64_t n_tiles = (form.n_channels + kTile - 1) / kTile;
  const int64_t most = std::clamp<int64_t>(n_rows * n_tiles / (4 * int64_t{n_threads}), 32, 256);
  std::vector<ConvPiece> pieces;
  for (const AttentionSegment& segment : segments) {
    const int64_t first = segment.q_begin, last = first + segment.n_q;
    for (int64_t begin = first; begin < last; begin += most) {
      for (int64_t c = 0; c < form.n_channels; c += kTile) {
        pieces.push_back(
            {begin, std::min(begin + most, last), first, last, c, std::min(kTile, form.n_channels - c)});
      }
    }
  }
  return pieces;
}

// Channels [c, c + n) of the form.
ConvFormOf<float> part_of(const ConvForm& form, int64_t c, int64_t n) {
  return {form.w + c * form.d_conv, form.bias ? form.bias + c : nullptr, n, form.d_conv, form.silu};
}

void for_each_tile(int64_t n_channels, ThreadPool& pool,
                   const std::function<void(int64_t c, int64_t n)>& body) {
  pool.run((n_channels + kTile - 1) / kTile,
           [&](int64_t tile, int) { body(tile * kTile, std::min(kTile, n_channels - tile * kTile)); });
}

}  // namespace

void causal_conv_forward(float* y, int64_t y_stride, const float* x, int64_t x_stride,
                         std::span<const AttentionSegment> segments, const ConvForm& form, ThreadPool& pool) {
  check(form);
  if (pool.is_dry()) return;
  if (isa() == Isa::scalar) {
    return for_each_tile(form.n_channels, pool, [&](int64_t c, int64_t n) {
      causal_conv_forward_reference(y + c, y_stride, x + c, x_stride, segments, part_of(form, c, n));
    });
  }
  const std::vector<ConvPiece> pieces = pieces_of(segments, form, pool.n_active());
  pool.run(int64_t(pieces.size()), form.n_channels, [&](int64_t i, int) {
    HWY_DYNAMIC_DISPATCH(Forward)(y, y_stride, x, x_stride, nullptr, pieces[size_t(i)], form);
  });
}

void causal_conv_backward(float* dx, int64_t dx_stride, const float* dy, int64_t dy_stride, const float* x,
                          int64_t x_stride, std::span<const AttentionSegment> segments, const ConvForm& form,
                          ThreadPool& pool) {
  check(form);
  if (pool.is_dry()) return;
  if (isa() == Isa::scalar) {
    return for_each_tile(form.n_channels, pool, [&](int64_t c, int64_t n) {
      causal_conv_backward_reference(dx + c, dx_stride, dy + c, dy_stride, x ? x + c : x, x_stride, segments,
                                     part_of(form, c, n));
    });
  }
  const std::vector<ConvPiece> pieces = pieces_of(segments, form, pool.n_active());
  pool.run(int64_t(pieces.size()), form.n_channels, [&](int64_t i, int) {
    HWY_DYNAMIC_DISPATCH(Backward)(dx, dx_stride, dy, dy_stride, x, x_stride, pieces[size_t(i)], form);
  });
}

void causal_conv_next(float* y, int64_t y_stride, float* state, const float* x, int64_t x_stride,
                      int64_t n_tokens, const ConvForm& form, ThreadPool& pool) {
  check(form);
  if (pool.is_dry()) return;
  if (isa() == Isa::scalar) {
    return for_each_tile(form.n_channels, pool, [&](int64_t c, int64_t n) {
      causal_conv_next_reference(y + c, y_stride, state + c, form.n_channels, x + c, x_stride, n_tokens,
                                 part_of(form, c, n));
    });
  }
  if (n_tokens == 0) return;
  const AttentionSegment all = {0, n_tokens, 0, n_tokens};
  const std::vector<ConvPiece> pieces = pieces_of({&all, 1}, form, pool.n_active());
  pool.run(int64_t(pieces.size()), form.n_channels, [&](int64_t i, int) {
    HWY_DYNAMIC_DISPATCH(Forward)(y, y_stride, x, x_stride, state, pieces[size_t(i)], form);
  });
  const int64_t n_before = form.d_conv - 1;
  for (int64_t row = 0; row < n_before; ++row) {
    const int64_t from = row + n_tokens;  // of the state's rows and then the tokens'
    std::memcpy(state + row * form.n_channels,
                from < n_before ? state + from * form.n_channels : x + (from - n_before) * x_stride,
                size_t(form.n_channels) * sizeof(float));
  }
}

}  // namespace lora
#endif  // HWY_ONCE
