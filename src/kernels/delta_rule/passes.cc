#include "kernels/delta_rule/passes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/delta_rule/passes.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "base/elementary.h"
#include "kernels/attention/layout.h"
#include "kernels/delta_rule/products-inl.h"
#include "kernels/exp-inl.h"
#include "kernels/gemm/pack.h"

#ifndef LORA_DELTA_RULE_SCRATCH_
#define LORA_DELTA_RULE_SCRATCH_
namespace lora {
namespace {

constexpr int64_t kC = kDeltaChunk;

// Rows of heads lie so far apart that whole vectors may be read and written.
inline int64_t padded(int64_t dim) {
  return round_up(dim, 16);
}

// What of a chunk depends on its key head, and what on a value head of it.
struct ChunkScratch {
  float *q, *k, *k_turned;     // (kC, dim_k), (kC, dim_k), (dim_k, kC)
  float *qk, *kk;              // (kC, kC): q_i . k_j and k_i . k_j, j <= i
  double* sums;                // (kC): G
  float *decay, *rest, *beta;  // (kC): exp(G_i), exp(G_last - G_i)
  float* differences;          // (kC)
  float *p, *t;                // (kC, kC): D qk, and D kk below the diagonal
  float *y, *d, *scaled;       // (kC, dim_v)
  float* q_scaled;             // (kC, dim_k)

  ChunkScratch(Layout& at, const DeltaRuleShape& s) {
    const int64_t of_k = kC * padded(s.dim_k), of_v = kC * padded(s.dim_v);
    for (float** x : {&q, &k, &q_scaled}) *x = at.take<float>(of_k);
    k_turned = at.take<float>(s.dim_k * kC);
    for (float** x : {&qk, &kk, &p, &t}) *x = at.take<float>(kC * kC);
    sums = at.take<double>(kC);
    for (float** x : {&decay, &rest, &beta, &differences}) *x = at.take<float>(kC);
    for (float** x : {&y, &d, &scaled}) *x = at.take<float>(of_v);
  }
};

struct ForwardScratch {
  float* states;  // (group, dim_k, dim_v)
  ChunkScratch chunk;
  ForwardScratch(Layout& at, const DeltaRuleShape& s)
      : states(at.take<float>(s.group() * s.state_size())), chunk(at, s) {}
};

struct BackwardScratch {
  ChunkScratch chunk;
  float* states;   // (group, chunks of a span, dim_k, dim_v): before each chunk
  float* dstates;  // (group, dim_k, dim_v): of what is behind the chunk
  float *state_turned, *dstate_turned, *d_turned;  // (dim_v, dim_k), (dim_v, dim_k), (dim_v, kC)
  float* decays;                                   // (kC, kC): D
  float *dp, *dt;                                  // (kC, kC): of one value head
  float *dqk, *dkk;                                // (kC, kC): of all value heads
  float *dd, *u;                                   // (kC, dim_v): dd and beta dd
  float *dq, *dk;                                  // (kC, dim_k)
  float *from_state, *columns;                     // (kC)

  BackwardScratch(Layout& at, const DeltaRuleShape& s) : chunk(at, s) {
    states = at.take<float>(s.group() * (kDeltaSpan / kC) * s.state_size());
    dstates = at.take<float>(s.group() * s.state_size());
    for (float** x : {&state_turned, &dstate_turned}) *x = at.take<float>(s.state_size());
    d_turned = at.take<float>(s.dim_v * kC);
    for (float** x : {&decays, &dp, &dt, &dqk, &dkk}) *x = at.take<float>(kC * kC);
    for (float** x : {&dd, &u}) *x = at.take<float>(kC * padded(s.dim_v));
    for (float** x : {&dq, &dk}) *x = at.take<float>(kC * padded(s.dim_k));
    for (float** x : {&from_state, &columns}) *x = at.take<float>(kC);
  }
};

inline void turn(float* to, int64_t to_row, const float* from, int64_t row, int64_t n_rows, int64_t n_cols) {
  transpose(reinterpret_cast<uint32_t*>(to), to_row, reinterpret_cast<const uint32_t*>(from), row, n_rows,
            n_cols);
}

}  // namespace
}  // namespace lora
#endif

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE V LoadUpTo(D d, const float* from, int64_t n) {
  return n >= int64_t(hn::Lanes(d)) ? hn::LoadU(d, from) : LoadFirst(d, from, n);
}
HWY_INLINE void StoreUpTo(V value, D d, float* to, int64_t n) {
  n >= int64_t(hn::Lanes(d)) ? hn::StoreU(value, d, to) : StoreFirst(value, d, to, n);
}

HWY_ATTR float Dot(const float* a, const float* b, int64_t n) {
  const D d;
  V sum = hn::Zero(d);
  for (int64_t c = 0; c < n; c += int64_t(hn::Lanes(d)))
    sum = hn::MulAdd(LoadUpTo(d, a + c, n - c), LoadUpTo(d, b + c, n - c), sum);
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// to = factor from
HWY_ATTR void Scale(float* to, const float* from, float factor, int64_t n) {
  const D d;
  const V f = hn::Set(d, factor);
  for (int64_t c = 0; c < n; c += int64_t(hn::Lanes(d)))
    StoreUpTo(hn::Mul(f, LoadUpTo(d, from + c, n - c)), d, to + c, n - c);
}
HWY_ATTR void ScaleRows(float* to, int64_t to_row, const float* from, int64_t row, const float* factors,
                        int64_t n_rows, int64_t n) {
  for (int64_t i = 0; i < n_rows; ++i) Scale(to + i * to_row, from + i * row, factors[i], n);
}

HWY_ATTR void UnitRows(float* to, int64_t to_row, const float* from, int64_t row, float factor, float eps,
                       int64_t n_rows, int64_t n) {
  for (int64_t i = 0; i < n_rows; ++i, to += to_row, from += row)
    Scale(to, from, factor / std::sqrt(Dot(from, from, n) + eps), n);
}

// to = factor r (dy - y (y . dy)) with y = r x; `dy` is overwritten.
HWY_ATTR void UnitRowsBackward(float* to, const float* x, int64_t row, float* dy, int64_t dy_row,
                               float factor, float eps, int64_t n_rows, int64_t n) {
  const D d;
  for (int64_t i = 0; i < n_rows; ++i, to += row, x += row, dy += dy_row) {
    const float r = 1 / std::sqrt(Dot(x, x, n) + eps), along = r * r * Dot(x, dy, n);
    const V a = hn::Set(d, along), f = hn::Set(d, factor * r);
    for (int64_t c = 0; c < n; c += int64_t(hn::Lanes(d))) {
      const V value = hn::NegMulAdd(a, LoadUpTo(d, x + c, n - c), LoadUpTo(d, dy + c, n - c));
      StoreUpTo(hn::Mul(f, value), d, to + c, n - c);
    }
  }
}

// Of a chunk, what its key head gives. Without `queries` only what states need.
HWY_ATTR void KeyPart(const ChunkScratch& a, const DeltaRuleInput& in, const DeltaRuleShape& s,
                      int64_t head_k, int64_t begin, int64_t n, bool queries) {
  const int64_t dim = s.dim_k, ld = padded(dim), at = begin * in.row + head_k * dim;
  UnitRows(a.k, ld, in.k + at, in.row, 1, s.eps, n, dim);
  turn(a.k_turned, kC, a.k, ld, n, dim);
  Product(a.kk, kC, {a.k, ld, 1}, a.k_turned, kC, {n, n, dim}, 0, 1, Part::all, Part::lower);
  if (!queries) return;
  UnitRows(a.q, ld, in.q + at, in.row, s.scale, s.eps, n, dim);
  Product(a.qk, kC, {a.q, ld, 1}, a.k_turned, kC, {n, n, dim}, 0, 1, Part::all, Part::lower);
}

// Decays, and with them p (where there are queries) and t. decays: nullptr, or where D goes.
HWY_ATTR void Gates(const ChunkScratch& a, const DeltaRuleInput& in, const DeltaRuleShape& s, int64_t head_v,
                    int64_t begin, int64_t n, bool queries, float* decays) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    constexpr double kLeast = -1000;  // whose exponential is 0
    sum += std::max(double(in.g[(begin + i) * s.n_head_v + head_v]), kLeast);
    a.sums[i] = sum;
    a.decay[i] = float(elementary::exp(sum));
    a.beta[i] = in.beta[(begin + i) * s.n_head_v + head_v];
  }
  for (int64_t i = 0; i < n; ++i) a.rest[i] = float(elementary::exp(sum - a.sums[i]));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) a.differences[j] = float(a.sums[i] - a.sums[j]);
    for (int64_t j = 0; j < kC; j += lanes) {
      const int64_t at = i * kC + j;
      V decay = hn::Zero(d), p = decay, t = decay;
      if (j <= i) {
        const auto seen = hn::FirstN(d, size_t(i + 1 - j)), before = hn::FirstN(d, size_t(i - j));
        decay = hn::IfThenElseZero(seen, Exp(d, hn::Load(d, a.differences + j)));
        if (queries) p = hn::IfThenElseZero(seen, hn::Mul(decay, hn::Load(d, a.qk + at)));
        t = hn::IfThenElseZero(before, hn::Mul(decay, hn::Load(d, a.kk + at)));
      }
      if (queries) hn::Store(p, d, a.p + at);
      hn::Store(t, d, a.t + at);
      if (decays) hn::Store(decay, d, decays + at);
    }
  }
}

// y and d = beta y, from the state before the chunk.
HWY_ATTR void Corrections(const ChunkScratch& a, const DeltaRuleInput& in, const DeltaRuleShape& s,
                          const float* state, int64_t head_v, int64_t begin, int64_t n) {
  const D d;
  const int64_t dim = s.dim_v, ld = padded(dim);
  Product(a.y, ld, {a.k, padded(s.dim_k), 1}, state, dim, {n, dim, s.dim_k});
  for (int64_t i = 0; i < n; ++i) {
    const float* v = in.v + (begin + i) * in.row + head_v * dim;
    float* y = a.y + i * ld;
    const V f = hn::Set(d, a.decay[i]);
    for (int64_t c = 0; c < dim; c += int64_t(hn::Lanes(d)))
      hn::Store(hn::NegMulAdd(f, hn::Load(d, y + c), LoadUpTo(d, v + c, dim - c)), d, y + c);
  }
  SolveLower(a.y, a.d, ld, a.t, kC, a.beta, n, dim);
}

// The state behind the chunk, in its place.
HWY_ATTR void Advance(const ChunkScratch& a, const DeltaRuleShape& s, float* state, int64_t n) {
  const int64_t dim = s.dim_v, ld = padded(dim);
  ScaleRows(a.scaled, ld, a.d, ld, a.rest, n, dim);
  Product(state, dim, {a.k, 1, padded(s.dim_k)}, a.scaled, ld, {s.dim_k, dim, n}, a.decay[n - 1]);
}

HWY_ATTR void Forward(const DeltaForward& pass, int64_t head_k, int64_t begin, int64_t n,
                      std::byte* scratch) {
  const DeltaRuleShape& s = pass.shape;
  Layout layout(scratch);
  const ChunkScratch a = ForwardScratch(layout, s).chunk;
  const int64_t dim = s.dim_v, ld_k = padded(s.dim_k), out_row = s.n_head_v * dim;
  for (int64_t i = 0; i < n; i += kC) {
    const int64_t at = begin + i, n_chunk = std::min(kC, n - i);
    KeyPart(a, pass.in, s, head_k, at, n_chunk, true);
    for (int64_t h = 0; h < s.group(); ++h) {
      const int64_t head_v = s.value_head(head_k, h);
      float* state = pass.states + h * pass.states_row;
      if (pass.kept && i > 0 && i % kDeltaSpan == 0)
        std::copy_n(state, s.state_size(), pass.kept + delta_kept_at(s, at, head_v));
      Gates(a, pass.in, s, head_v, at, n_chunk, true, nullptr);
      Corrections(a, pass.in, s, state, head_v, at, n_chunk);
      float* out = pass.out + at * out_row + head_v * dim;
      ScaleRows(a.q_scaled, ld_k, a.q, ld_k, a.decay, n_chunk, s.dim_k);
      Product(out, out_row, {a.q_scaled, ld_k, 1}, state, dim, {n_chunk, dim, s.dim_k});
      Product(out, out_row, {a.p, kC, 1}, a.d, padded(dim), {n_chunk, dim, n_chunk}, 1, 1, Part::lower);
      Advance(a, s, state, n_chunk);
    }
  }
}

HWY_ATTR void Tokens(float* out, float* state, const DeltaRuleInput& in, const DeltaRuleShape& s,
                     int64_t head_k, int64_t head_v, int64_t n, std::byte* scratch) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d)), dim = s.dim_v;
  Layout layout(scratch);
  const ChunkScratch a = ForwardScratch(layout, s).chunk;
  for (int64_t t = 0; t < n; ++t) {
    UnitRows(a.q, 0, in.q + t * in.row + head_k * s.dim_k, 0, s.scale, s.eps, 1, s.dim_k);
    UnitRows(a.k, 0, in.k + t * in.row + head_k * s.dim_k, 0, 1, s.eps, 1, s.dim_k);
    const float *v = in.v + t * in.row + head_v * dim, qk = Dot(a.q, a.k, s.dim_k);
    const V decay = hn::Set(d, elementary::exp(in.g[t * s.n_head_v + head_v])),
            beta = hn::Set(d, in.beta[t * s.n_head_v + head_v]), of_d = hn::Set(d, qk);
    for (int64_t c = 0; c < dim; c += lanes) {
      const int64_t m = dim - c;
      V found = hn::Zero(d), asked = found;
      for (int64_t i = 0; i < s.dim_k; ++i) {
        const V row = LoadUpTo(d, state + i * dim + c, m);
        found = hn::MulAdd(hn::Set(d, a.k[i]), row, found);
        asked = hn::MulAdd(hn::Set(d, a.q[i]), row, asked);
      }
      const V missed = hn::NegMulAdd(decay, found, LoadUpTo(d, v + c, m)), add = hn::Mul(beta, missed);
      StoreUpTo(hn::MulAdd(of_d, add, hn::Mul(decay, asked)), d, out + (t * s.n_head_v + head_v) * dim + c,
                m);
      for (int64_t i = 0; i < s.dim_k; ++i) {
        float* row = state + i * dim + c;
        StoreUpTo(hn::MulAdd(hn::Set(d, a.k[i]), add, hn::Mul(decay, LoadUpTo(d, row, m))), d, row, m);
      }
    }
  }
}

// dqk and dkk += what this head's dp and dt give; `columns` becomes the sums over i of both times qk and kk.
HWY_ATTR void ScoreGradients(const BackwardScratch& b, int64_t n) {
  const D d;
  const ChunkScratch& a = b.chunk;
  const int64_t lanes = int64_t(hn::Lanes(d));
  for (int64_t j = 0; j < n; j += lanes) {
    V column = hn::Zero(d);
    for (int64_t i = j; i < n; ++i) {
      const int64_t at = i * kC + j;
      const auto seen = hn::FirstN(d, size_t(i + 1 - j)), before = hn::FirstN(d, size_t(i - j));
      const V decay = hn::Load(d, b.decays + at);
      const V of_q = hn::IfThenElseZero(seen, hn::Mul(decay, hn::Load(d, b.dp + at)));
      const V of_k = hn::IfThenElseZero(before, hn::Mul(decay, hn::Load(d, b.dt + at)));
      hn::Store(hn::Add(hn::Load(d, b.dqk + at), of_q), d, b.dqk + at);
      hn::Store(hn::Add(hn::Load(d, b.dkk + at), of_k), d, b.dkk + at);
      column = hn::Add(column, hn::IfThenElseZero(seen, hn::Mul(of_q, hn::Load(d, a.qk + at))));
      column = hn::Add(column, hn::IfThenElseZero(before, hn::Mul(of_k, hn::Load(d, a.kk + at))));
    }
    hn::Store(column, d, b.columns + j);
  }
}

// One value head of one chunk. dstate: of the state behind it, then of the one before.
HWY_ATTR void HeadBackward(const DeltaBackward& pass, const BackwardScratch& b, const float* state,
                           float* dstate, int64_t head_v, int64_t begin, int64_t n) {
  const DeltaRuleShape& s = pass.shape;
  const ChunkScratch& a = b.chunk;
  const int64_t dim = s.dim_v, dim_k = s.dim_k, ld = padded(dim), ld_k = padded(dim_k);
  const int64_t out_row = s.n_head_v * dim, at = begin * out_row + head_v * dim;
  const float* dout = pass.dout + at;
  Gates(a, pass.in, s, head_v, begin, n, true, b.decays);
  Corrections(a, pass.in, s, state, head_v, begin, n);
  turn(b.state_turned, dim_k, state, dim, dim_k, dim);
  turn(b.dstate_turned, dim_k, dstate, dim, dim_k, dim);
  turn(b.d_turned, kC, a.d, ld, n, dim);

  // Of d: through the state behind, then through this chunk's outputs, then through later y.
  Product(b.dd, ld, {a.k, ld_k, 1}, dstate, dim, {n, dim, dim_k});
  ScaleRows(b.dd, ld, b.dd, ld, a.rest, n, dim);
  for (int64_t i = 0; i < n; ++i) b.from_state[i] = Dot(b.dd + i * ld, a.d + i * ld, dim);
  Product(b.dd, ld, {a.p, 1, kC}, dout, out_row, {n, dim, n}, 1, 1, Part::upper);
  SolveUpper(b.dd, b.u, ld, a.t, kC, a.beta, n, dim);

  // Of q . k and k . k.
  Product(b.dp, kC, {dout, out_row, 1}, b.d_turned, kC, {n, n, dim}, 0, 1, Part::all, Part::lower);
  Product(b.dt, kC, {b.u, ld, 1}, b.d_turned, kC, {n, n, dim}, 0, -1, Part::all, Part::lower);
  ScoreGradients(b, n);

  // Of the gates. G_last has a part in all that the state behind is made of.
  double last = double(a.decay[n - 1]) * double(Dot(state, dstate, s.state_size()));
  for (int64_t i = 0; i < n; ++i) last += double(b.from_state[i]);
  double sum = last;
  for (int64_t i = n; i-- > 0;) {
    const int64_t gate = (begin + i) * s.n_head_v + head_v;
    const float *u = b.u + i * ld, *v = pass.in.v + (begin + i) * pass.in.row + head_v * dim;
    const double of_out = double(Dot(dout + i * out_row, pass.out + at + i * out_row, dim));
    sum += of_out + double(Dot(u, a.y + i * ld, dim)) - double(Dot(u, v, dim)) - double(b.columns[i]) -
           double(b.from_state[i]);
    pass.to.dg[gate] = float(sum);
    pass.to.dbeta[gate] = Dot(b.dd + i * ld, a.y + i * ld, dim);
  }

  // Of k, q and the state before, where they meet states.
  ScaleRows(a.scaled, ld, a.d, ld, a.rest, n, dim);
  Product(b.dk, ld_k, {a.scaled, ld, 1}, b.dstate_turned, dim_k, {n, dim_k, dim}, 1);
  ScaleRows(a.scaled, ld, b.u, ld, a.decay, n, dim);
  Product(b.dk, ld_k, {a.scaled, ld, 1}, b.state_turned, dim_k, {n, dim_k, dim}, 1, -1);
  Product(dstate, dim, {a.k, 1, ld_k}, a.scaled, ld, {dim_k, dim, n}, a.decay[n - 1], -1);
  ScaleRows(a.scaled, ld, dout, out_row, a.decay, n, dim);
  Product(b.dq, ld_k, {a.scaled, ld, 1}, b.state_turned, dim_k, {n, dim_k, dim}, 1);
  Product(dstate, dim, {a.q, 1, ld_k}, a.scaled, ld, {dim_k, dim, n}, 1);
  for (int64_t i = 0; i < n; ++i)
    Scale(pass.to.dv + (begin + i) * pass.in.row + head_v * dim, b.u + i * ld, 1, dim);
}

HWY_ATTR void Backward(const DeltaBackward& pass, int64_t head_k, int64_t begin, int64_t n,
                       std::byte* scratch) {
  const DeltaRuleShape& s = pass.shape;
  const DeltaRuleInput& in = pass.in;
  Layout layout(scratch);
  const BackwardScratch b(layout, s);
  const ChunkScratch& a = b.chunk;
  constexpr int64_t kChunks = kDeltaSpan / kC;
  const int64_t size = s.state_size(), ld = padded(s.dim_k);
  const auto state = [&](int64_t head, int64_t chunk) { return b.states + (head * kChunks + chunk) * size; };
  std::fill_n(b.dstates, s.group() * size, 0.0f);
  for (int64_t span = (n - 1) / kDeltaSpan * kDeltaSpan; span >= 0; span -= kDeltaSpan) {
    const int64_t n_span = std::min(kDeltaSpan, n - span), last = (n_span - 1) / kC;
    for (int64_t h = 0; h < s.group(); ++h) {
      if (span == 0) {
        std::fill_n(state(h, 0), size, 0.0f);
      } else {
        const int64_t at = delta_kept_at(s, begin + span, s.value_head(head_k, h));
        std::copy_n(pass.kept + at, size, state(h, 0));
      }
    }
    for (int64_t c = 0; c < last; ++c) {
      const int64_t at = begin + span + c * kC;
      KeyPart(a, in, s, head_k, at, kC, false);
      for (int64_t h = 0; h < s.group(); ++h) {
        const int64_t head_v = s.value_head(head_k, h);
        Gates(a, in, s, head_v, at, kC, false, nullptr);
        Corrections(a, in, s, state(h, c), head_v, at, kC);
        std::copy_n(state(h, c), size, state(h, c + 1));
        Advance(a, s, state(h, c + 1), kC);
      }
    }
    for (int64_t c = last; c >= 0; --c) {
      const int64_t at = begin + span + c * kC, n_chunk = std::min(kC, n_span - c * kC);
      KeyPart(a, in, s, head_k, at, n_chunk, true);
      std::fill_n(b.dq, n_chunk * ld, 0.0f);
      std::fill_n(b.dk, n_chunk * ld, 0.0f);
      for (float* x : {b.dqk, b.dkk}) std::fill_n(x, kC * kC, 0.0f);
      for (int64_t h = 0; h < s.group(); ++h)
        HeadBackward(pass, b, state(h, c), b.dstates + h * size, s.value_head(head_k, h), at, n_chunk);
      const Size of_scores{n_chunk, s.dim_k, n_chunk};
      Product(b.dq, ld, {b.dqk, kC, 1}, a.k, ld, of_scores, 1, 1, Part::lower);
      Product(b.dk, ld, {b.dqk, 1, kC}, a.q, ld, of_scores, 1, 1, Part::upper);
      Product(b.dk, ld, {b.dkk, kC, 1}, a.k, ld, of_scores, 1, 1, Part::lower);
      Product(b.dk, ld, {b.dkk, 1, kC}, a.k, ld, of_scores, 1, 1, Part::upper);
      const int64_t row = at * in.row + head_k * s.dim_k;
      UnitRowsBackward(pass.to.dq + row, in.q + row, in.row, b.dq, ld, s.scale, s.eps, n_chunk, s.dim_k);
      UnitRowsBackward(pass.to.dk + row, in.k + row, in.row, b.dk, ld, 1, s.eps, n_chunk, s.dim_k);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {

HWY_EXPORT(Forward);
HWY_EXPORT(Tokens);
HWY_EXPORT(Backward);

int64_t delta_forward_bytes(const DeltaRuleShape& shape) {
  Layout layout(nullptr);
  ForwardScratch(layout, shape);
  return layout.used();
}
int64_t delta_backward_bytes(const DeltaRuleShape& shape) {
  Layout layout(nullptr);
  BackwardScratch(layout, shape);
  return layout.used();
}

void delta_forward(const DeltaForward& pass, int64_t head_k, int64_t begin, int64_t n, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(Forward)(pass, head_k, begin, n, scratch);
}
void delta_tokens(float* out, float* state, const DeltaRuleInput& in, const DeltaRuleShape& shape,
                  int64_t head_k, int64_t head_v, int64_t n, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(Tokens)(out, state, in, shape, head_k, head_v, n, scratch);
}
void delta_backward(const DeltaBackward& pass, int64_t head_k, int64_t begin, int64_t n, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(Backward)(pass, head_k, begin, n, scratch);
}

}  // namespace lora
#endif  // HWY_ONCE
