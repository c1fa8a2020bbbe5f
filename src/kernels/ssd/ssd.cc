#include "kernels/ssd/ssd.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "kernels/attention/layout.h"
#include "kernels/gemm/micro_kernel.h"
#include "kernels/gemm/pack.h"
#include "kernels/isa.h"
#include "kernels/ssd/decays.h"
#include "kernels/ssd/ssd_reference.h"

namespace lora {
namespace {

constexpr int64_t kTile = kSsdChunk * kSsdChunk;
constexpr int64_t kFewTokens = 8;     // with a state: token by token up to here
constexpr int64_t kHeadsAtOnce = 16;  // of whose states the backward pass keeps all chunks' at least

int64_t chunks(int64_t n_tokens) {
  return ceil_div(n_tokens, kSsdChunk);
}

// Sizes as the micro-kernel in use needs them: where they lie in lanes, where they are summed over, and where
// they are rows of a left operand.
struct Sizes {
  Sizes(const MicroKernel& k, const SsdShape& s)
      : kernel(k),
        dim(s.head_dim),
        dim_lanes(round_up(dim, k.nr)),
        dim_inner(round_up(dim, k.k_step)),
        state(s.n_state),
        state_lanes(round_up(state, k.nr)),
        state_inner(round_up(state, k.k_step)),
        state_rows(std::max(round_up(state, k.mr), state_inner)) {}
  const MicroKernel& kernel;
  int64_t dim, dim_lanes, dim_inner;
  int64_t state, state_lanes, state_inner, state_rows;
  int64_t state_size() const {
    return state_rows * dim_lanes;
  }  // of one head's state: (state_rows, dim_lanes)
};

// n rows as a left operand of `inner` columns; rows behind them are zeros up to kSsdChunk.
template <class T>
void pack_left(T* to, int64_t inner, const float* from, int64_t row, int64_t n, int64_t n_cols) {
  for (int64_t r = 0; r < kSsdChunk; ++r, to += inner) {
    const int64_t valid = r < n ? n_cols : 0;
    if (valid > 0) scale_row(to, from + r * row, valid, 1.0f);
    std::fill(to + valid, to + inner, T{});
  }
}

// The columns of n rows as the rows of a left operand: (n_rows, kSsdChunk). `turned`: n_rows * kSsdChunk.
template <class T>
void pack_left_turned(T* to, int64_t n_rows, const float* from, int64_t row, int64_t n, int64_t n_cols,
                      float* turned) {
  std::fill(turned, turned + n_rows * kSsdChunk, 0.0f);
  transpose(reinterpret_cast<uint32_t*>(turned), kSsdChunk, reinterpret_cast<const uint32_t*>(from), row, n,
            n_cols);
  scale_row(to, turned, n_rows * kSsdChunk, 1.0f);
}

// A right operand whose lanes are n rows: [n_lanes / nr][inner / pair][nr][pair].
template <class T>
void pack_turned(T* to, const float* from, int64_t row, int64_t n, int64_t n_lanes, int64_t n_cols,
                 int64_t inner, const MicroKernel& k) {
  const float* rows[kMaxNr];
  for (int64_t r = 0; r < n_lanes; r += k.nr, to += inner * k.nr) {
    const int64_t valid = std::clamp<int64_t>(n - r, 0, k.nr);
    for (int64_t i = 0; i < valid; ++i) rows[i] = from + (r + i) * row;
    pack_panel(to, rows, valid, n_cols, inner, k.nr, 1.0f);
  }
}

// A right operand that is summed over n rows, times factors or as they are: [lanes / nr][inner /
// pair][nr][pair]. `two`: 2 * lanes.
void pack_interleaved(float* to, const float* from, int64_t row, int64_t n, int64_t inner, int64_t n_cols,
                      int64_t lanes, const float* factors, const MicroKernel& k, float* two) {
  std::fill(two, two + lanes, 0.0f);
  for (int64_t r = 0; r < inner; ++r) {
    if (r < n) {
      scale_row(two, from + r * row, n_cols, factors ? factors[r] : 1.0f);
    } else if (r == n) {
      std::fill(two, two + n_cols, 0.0f);
    }
    for (int64_t c = 0; c < lanes; c += k.nr)
      std::memcpy(to + c * inner + r * k.nr, two + c, size_t(k.nr) * sizeof(float));
  }
}
void pack_interleaved(bf16* to, const float* from, int64_t row, int64_t n, int64_t inner, int64_t n_cols,
                      int64_t lanes, const float* factors, const MicroKernel& k, bf16* two) {
  std::fill(two, two + 2 * lanes, bf16{});
  for (int64_t r = 0; r < inner; r += 2) {
    for (int64_t i = 0; i < 2; ++i) {
      if (r + i < n) {
        scale_row(two + i * lanes, from + (r + i) * row, n_cols, factors ? factors[r + i] : 1.0f);
      } else {
        std::fill(two + i * lanes, two + i * lanes + n_cols, bf16{});
      }
    }
    interleave_rows(reinterpret_cast<uint32_t*>(to + r * k.nr), k.nr * inner / 2, two, two + lanes, lanes,
                    k.nr);
  }
}

// A tile as a left operand; `left` is where its conversion goes.
const float* as_left(float*, const float* tile) {
  return tile;
}
const bf16* as_left(bf16* left, const float* tile) {
  scale_row(left, tile, kTile, 1.0f);
  return left;
}

// Which part of a sum row r of a tile has anything in: all, columns up to r, columns from r on.
enum class Part { all, up_to_row, from_row };

// to (n_rows, lanes) = or += left times right, `inner` numbers each.
template <class T>
void multiply(float* to, int64_t lanes, const T* left, int64_t left_row, const T* right, int64_t n_rows,
              int64_t inner, bool accumulate, const MicroKernel& k, Part part = Part::all) {
  for (int64_t j = 0; j < lanes; j += k.nr) {
    for (int64_t i = 0; i < n_rows; i += k.mr) {
      const int64_t begin = part == Part::from_row ? i / k.k_step * k.k_step : 0;
      const int64_t end = part == Part::up_to_row ? std::min(inner, round_up(i + k.mr, k.k_step)) : inner;
      k.tile(to + i * lanes + j, lanes, left + i * left_row + begin, left_row,
             right + j * inner + begin * k.nr, end - begin, accumulate);
    }
  }
}

// Products of pairs of tokens: tile (n, n) = left rows times lanes, where the part has anything in.
template <class T>
void multiply_pairs(float* tile, const T* left, const T* right, int64_t n, int64_t inner,
                    const MicroKernel& k, Part part) {
  for (int64_t i = 0; i < n; i += k.mr) {
    const int64_t begin = part == Part::from_row ? i / k.nr * k.nr : 0;
    const int64_t end = part == Part::up_to_row ? std::min(n, i + k.mr) : n;
    for (int64_t j = begin; j < end; j += k.nr)
      k.tile(tile + i * kSsdChunk + j, kSsdChunk, left + i * inner, inner, right + j * inner, inner, false);
  }
}

// A chunk of the sequence.
struct Chunk {
  Chunk(int64_t i, int64_t n_tokens) : begin(i * kSsdChunk), n(std::min(kSsdChunk, n_tokens - begin)) {}
  int64_t begin, n;
};

// What all heads of a group share in one chunk.
template <class T>
struct GroupChunk {
  T* left;       // (kSsdChunk, state_inner): C, or B going back
  T* b_turned;   // (state_rows, kSsdChunk): B, its columns as rows
  T* c_turned;   // the same of C; going back
  float* pairs;  // (kSsdChunk, kSsdChunk): C_t . B_u; going back B_u . C_t, and the sum of their gradients:
  float* sums;

  GroupChunk(Layout& at, const Sizes& s, bool backward)
      : left(at.take<T>(kSsdChunk * s.state_inner)),
        b_turned(at.take<T>(s.state_rows * kSsdChunk)),
        c_turned(backward ? at.take<T>(s.state_rows * kSsdChunk) : nullptr),
        pairs(at.take<float>(kTile)),
        sums(backward ? at.take<float>(kTile) : nullptr) {}

  static int64_t bytes(const Sizes& s, bool backward) {
    Layout layout(nullptr);
    GroupChunk(layout, s, backward);
    return layout.used();
  }
};

// Of a task that prepares such.
template <class T>
struct GroupScratch {
  T *right, *other;  // (state_inner, kSsdChunk), (kSsdChunk, state_inner)
  float* turned;     // (state_rows, kSsdChunk)
  float* rows;       // (kSsdChunk, state_lanes)
  float* tile;
  T *left, *interleaved, *two;

  GroupScratch(Layout& at, const Sizes& s)
      : right(at.take<T>(s.state_inner * kSsdChunk)),
        other(at.take<T>(s.state_inner * kSsdChunk)),
        turned(at.take<float>(s.state_rows * kSsdChunk)),
        rows(at.take<float>(kSsdChunk * s.state_lanes)),
        tile(at.take<float>(kTile)),
        left(at.take<T>(kTile)),
        interleaved(at.take<T>(s.state_lanes * kSsdChunk)),
        two(at.take<T>(2 * s.state_lanes)) {}
};

// Of a task that goes through chunks of a head.
template <class T>
struct HeadScratch {
  float *h, *sums, *more, *tile;
  T *state_right, *x_right, *left, *two;

  HeadScratch(Layout& at, const Sizes& s)
      : h(at.take<float>(s.state_size())),
        sums(at.take<float>(kSsdChunk * s.dim_lanes)),
        more(at.take<float>(kSsdChunk * s.dim_lanes)),
        tile(at.take<float>(kTile)),
        state_right(at.take<T>(s.state_inner * s.dim_lanes)),
        x_right(at.take<T>(kSsdChunk * s.dim_lanes)),
        left(at.take<T>(kTile)),
        two(at.take<T>(2 * s.dim_lanes)) {}
};

// Of a task that takes the gradients of a chunk.
template <class T>
struct GradientScratch {
  float *dx, *more, *dstate, *tile, *products;
  T *x_left, *dy_left, *dy_turned, *dy_right, *h_turned, *dh_turned, *dh_right, *left, *two;

  GradientScratch(Layout& at, const Sizes& s)
      : dx(at.take<float>(kSsdChunk * s.dim_lanes)),
        more(at.take<float>(kSsdChunk * s.dim_lanes)),
        dstate(at.take<float>(kSsdChunk * s.state_lanes)),
        tile(at.take<float>(kTile)),
        products(at.take<float>(kTile)),
        x_left(at.take<T>(kSsdChunk * s.dim_inner)),
        dy_left(at.take<T>(kSsdChunk * s.dim_inner)),
        dy_turned(at.take<T>(kSsdChunk * s.dim_inner)),
        dy_right(at.take<T>(kSsdChunk * s.dim_lanes)),
        h_turned(at.take<T>(s.dim_inner * s.state_lanes)),
        dh_turned(at.take<T>(s.dim_inner * s.state_lanes)),
        dh_right(at.take<T>(s.state_inner * s.dim_lanes)),
        left(at.take<T>(kTile)),
        two(at.take<T>(2 * s.dim_lanes)) {}
};

template <class Scratch>
int64_t bytes_of(const Sizes& s) {
  Layout layout(nullptr);
  Scratch(layout, s);
  return layout.used();
}

template <class T>
int64_t bytes_per_worker(const Sizes& s, bool backward) {
  const int64_t both = std::max(bytes_of<GroupScratch<T>>(s), bytes_of<HeadScratch<T>>(s));
  return backward ? std::max(both, bytes_of<GradientScratch<T>>(s)) : both;
}

int64_t heads_at_once(const SsdShape& shape, int n_workers) {
  return std::min<int64_t>(shape.n_head, std::max<int64_t>(kHeadsAtOnce, n_workers));
}

template <class T>
int64_t scratch_bytes(const Sizes& s, const SsdShape& shape, int64_t n_tokens, bool backward, int n_workers) {
  int64_t bytes = chunks(n_tokens) * shape.n_group * GroupChunk<T>::bytes(s, backward) +
                  n_workers * bytes_per_worker<T>(s, backward);
  if (backward)
    bytes += 2 * heads_at_once(shape, n_workers) * chunks(n_tokens) * s.state_size() * int64_t(sizeof(float));
  return bytes;
}

// One call over a sequence: who needs what, and where it lies in the scratch.
template <class T>
struct Pass {
  SsdInput in;
  SsdHeads heads;
  SsdShape shape;
  int64_t n_tokens;
  bool backward;
  Sizes sizes;
  std::byte* scratch;
  int n_workers;

  int64_t n_chunks() const { return chunks(n_tokens); }
  int64_t group_of(int64_t head) const { return head / (shape.n_head / shape.n_group); }
  const float* x(int64_t token, int64_t head) const { return in.x + token * in.row + head * sizes.dim; }
  const float* b(int64_t token, int64_t group) const { return in.b + token * in.row + group * sizes.state; }
  const float* c(int64_t token, int64_t group) const { return in.c + token * in.row + group * sizes.state; }
  int64_t out_row() const { return shape.n_head * sizes.dim; }

  GroupChunk<T> of_group(int64_t chunk, int64_t group) const {
    Layout layout(scratch + (chunk * shape.n_group + group) * GroupChunk<T>::bytes(sizes, backward));
    return GroupChunk<T>(layout, sizes, backward);
  }
  std::byte* worker(int i) const {
    return scratch + n_chunks() * shape.n_group * GroupChunk<T>::bytes(sizes, backward) +
           i * bytes_per_worker<T>(sizes, backward);
  }
  // State before a chunk, or the gradient of the one behind it, of a head among those that go at once.
  float* state(int64_t head, int64_t chunk, bool gradient) const {
    const int64_t n_heads = heads_at_once(shape, n_workers);
    return reinterpret_cast<float*>(worker(n_workers)) +
           (((gradient ? n_heads : 0) + head) * n_chunks() + chunk) * sizes.state_size();
  }
  void decays(SsdDecays& decays, const Chunk& at, int64_t head) const {
    ssd_decays(decays, in.dt + at.begin * in.dt_row + head, in.dt_row, at.n, heads.a[head],
               heads.dt_bias[head]);
  }
};

template <class T>
void prepare_group(const Pass<T>& pass, int64_t chunk, int64_t group, std::byte* scratch) {
  const Sizes& s = pass.sizes;
  const Chunk at(chunk, pass.n_tokens);
  const GroupChunk<T> to = pass.of_group(chunk, group);
  Layout layout(scratch);
  const GroupScratch<T> w(layout, s);
  const float *b = pass.b(at.begin, group), *c = pass.c(at.begin, group);
  const int64_t row = pass.in.row;
  const float *left = pass.backward ? b : c, *right = pass.backward ? c : b;
  pack_left(to.left, s.state_inner, left, row, at.n, s.state);
  pack_left_turned(to.b_turned, s.state_rows, b, row, at.n, s.state, w.turned);
  if (pass.backward) pack_left_turned(to.c_turned, s.state_rows, c, row, at.n, s.state, w.turned);
  pack_turned(w.right, right, row, at.n, kSsdChunk, s.state, s.state_inner, s.kernel);
  multiply_pairs(to.pairs, to.left, w.right, at.n, s.state_inner, s.kernel,
                 pass.backward ? Part::from_row : Part::up_to_row);
  if (pass.backward) std::fill(to.sums, to.sums + kTile, 0.0f);
}

// The state of a chunk's end: h = exp(s_end) h + B^T (to_end * x), or the gradient of the one before it from
// dh and exp(s) * dy in the same way.
template <class T>
void advance(float* to, const float* from, float whole, const T* turned, const float* rows, int64_t row,
             int64_t n, const float* factors, const HeadScratch<T>& w, const Sizes& s) {
  if (from) {
    ssd_scale(to, from, whole, s.state_size());
  } else {
    std::fill(to, to + s.state_size(), 0.0f);
  }
  const int64_t inner = round_up(n, s.kernel.k_step);
  pack_interleaved(w.x_right, rows, row, n, inner, s.dim, s.dim_lanes, factors, s.kernel, w.two);
  multiply(to, s.dim_lanes, turned, kSsdChunk, w.x_right, s.state, inner, true, s.kernel);
}

template <class T>
void forward_head(const Pass<T>& pass, float* y, float* state, int64_t head, std::byte* scratch) {
  const Sizes& s = pass.sizes;
  Layout layout(scratch);
  const HeadScratch<T> w(layout, s);
  SsdDecays decays;
  std::fill(w.h, w.h + s.state_size(), 0.0f);
  float* head_state = state ? state + head * s.state * s.dim : nullptr;
  for (int64_t n = 0; state && n < s.state; ++n)
    std::copy_n(head_state + n * s.dim, s.dim, w.h + n * s.dim_lanes);
  for (int64_t i = 0; i < pass.n_chunks(); ++i) {
    const Chunk at(i, pass.n_tokens);
    const GroupChunk<T> group = pass.of_group(i, pass.group_of(head));
    const float* x = pass.x(at.begin, head);
    const int64_t inner = round_up(at.n, s.kernel.k_step);
    pass.decays(decays, at, head);
    ssd_weigh(w.tile, group.pairs, decays, at.n);
    pack_interleaved(w.x_right, x, pass.in.row, at.n, inner, s.dim, s.dim_lanes, nullptr, s.kernel, w.two);
    multiply(w.sums, s.dim_lanes, as_left(w.left, w.tile), kSsdChunk, w.x_right, at.n, inner, false, s.kernel,
             Part::up_to_row);
    const bool has_past = i > 0 || state;
    if (has_past) {
      pack_interleaved(w.state_right, w.h, s.dim_lanes, s.state_inner, s.state_inner, s.dim_lanes,
                       s.dim_lanes, nullptr, s.kernel, w.two);
      multiply(w.more, s.dim_lanes, group.left, s.state_inner, w.state_right, at.n, s.state_inner, false,
               s.kernel);
    }
    ssd_store(y + at.begin * pass.out_row() + head * s.dim, pass.out_row(), w.sums, w.more, s.dim_lanes,
              has_past ? decays.from_begin : nullptr, pass.heads.d[head], x, pass.in.row, at.n, s.dim);
    if (i + 1 < pass.n_chunks() || state)
      advance(w.h, w.h, decays.whole, group.b_turned, x, pass.in.row, at.n, decays.to_end, w, s);
  }
  for (int64_t n = 0; state && n < s.state; ++n)
    std::copy_n(w.h + n * s.dim_lanes, s.dim, head_state + n * s.dim);
}

// The states at the borders of chunks, and their gradients. `slot`: of the head among those at once.
template <class T>
void backward_states(const Pass<T>& pass, const float* dy, int64_t head, int64_t slot, std::byte* scratch) {
  const Sizes& s = pass.sizes;
  Layout layout(scratch);
  const HeadScratch<T> w(layout, s);
  SsdDecays decays;
  const int64_t group = pass.group_of(head), last = pass.n_chunks() - 1;
  for (int64_t i = 0; i < last; ++i) {
    const Chunk at(i, pass.n_tokens);
    pass.decays(decays, at, head);
    advance(pass.state(slot, i + 1, false), i > 0 ? pass.state(slot, i, false) : nullptr, decays.whole,
            pass.of_group(i, group).b_turned, pass.x(at.begin, head), pass.in.row, at.n, decays.to_end, w, s);
  }
  for (int64_t i = last; i > 0; --i) {
    const Chunk at(i, pass.n_tokens);
    pass.decays(decays, at, head);
    advance(pass.state(slot, i - 1, true), i < last ? pass.state(slot, i, true) : nullptr, decays.whole,
            pass.of_group(i, group).c_turned, dy + at.begin * pass.out_row() + head * s.dim, pass.out_row(),
            at.n, decays.from_begin, w, s);
  }
}

template <class T>
void backward_chunk(const Pass<T>& pass, const SsdGradient& g, const float* dy, int64_t chunk, int64_t head,
                    int64_t slot, std::byte* scratch) {
  const Sizes& s = pass.sizes;
  const MicroKernel& k = s.kernel;
  Layout layout(scratch);
  const GradientScratch<T> w(layout, s);
  const Chunk at(chunk, pass.n_tokens);
  const int64_t group = pass.group_of(head), row = pass.in.row, dy_row = pass.out_row();
  const int64_t inner = round_up(at.n, k.k_step);
  const GroupChunk<T> shared = pass.of_group(chunk, group);
  const float *x = pass.x(at.begin, head), *dy_0 = dy + at.begin * dy_row + head * s.dim;
  const bool has_past = chunk > 0, has_future = chunk + 1 < pass.n_chunks();
  SsdDecays decays;
  pass.decays(decays, at, head);

  pack_left(w.x_left, s.dim_inner, x, row, at.n, s.dim);
  pack_turned(w.dy_turned, dy_0, dy_row, at.n, kSsdChunk, s.dim, s.dim_inner, k);
  multiply_pairs(w.products, w.x_left, w.dy_turned, at.n, s.dim_inner, k, Part::from_row);
  // of dt itself; of s; x_u . (dh B_u) and dy_t . (h C_t), which are of both.
  float ddt[kSsdChunk], from_state[kSsdChunk] = {}, from_past[kSsdChunk] = {};
  alignas(64) float ds[kSsdChunk] = {};
  ssd_weigh_backward(w.tile, shared.sums, ddt, ds, shared.pairs, w.products, decays, at.n);
  pack_interleaved(w.dy_right, dy_0, dy_row, at.n, inner, s.dim, s.dim_lanes, nullptr, k, w.two);
  multiply(w.dx, s.dim_lanes, as_left(w.left, w.tile), kSsdChunk, w.dy_right, at.n, inner, false, k,
           Part::from_row);
  if (has_future) {
    const float* dh = pass.state(slot, chunk, true);
    pack_interleaved(w.dh_right, dh, s.dim_lanes, s.state_inner, s.state_inner, s.dim_lanes, s.dim_lanes,
                     nullptr, k, w.two);
    multiply(w.more, s.dim_lanes, shared.left, s.state_inner, w.dh_right, at.n, s.state_inner, false, k);
    pack_turned(w.dh_turned, dh, s.dim_lanes, s.state, s.state_lanes, s.dim, s.dim_inner, k);
    multiply(w.dstate, s.state_lanes, w.x_left, s.dim_inner, w.dh_turned, at.n, s.dim_inner, false, k);
    ssd_add_rows(g.b + at.begin * g.row + group * s.state, g.row, from_state, w.dstate, s.state_lanes,
                 decays.to_end, pass.b(at.begin, group), row, at.n, s.state);
  }
  if (has_past) {
    pack_left(w.dy_left, s.dim_inner, dy_0, dy_row, at.n, s.dim);
    pack_turned(w.h_turned, pass.state(slot, chunk, false), s.dim_lanes, s.state, s.state_lanes, s.dim,
                s.dim_inner, k);
    multiply(w.dstate, s.state_lanes, w.dy_left, s.dim_inner, w.h_turned, at.n, s.dim_inner, false, k);
    ssd_add_rows(g.c + at.begin * g.row + group * s.state, g.row, from_past, w.dstate, s.state_lanes,
                 decays.from_begin, pass.c(at.begin, group), row, at.n, s.state);
  }
  ssd_store(g.x + at.begin * g.row + head * s.dim, g.row, w.dx, w.more, s.dim_lanes,
            has_future ? decays.to_end : nullptr, pass.heads.d[head], dy_0, dy_row, at.n, s.dim);

  // s_t is the sum of dt a up to t, so the gradient of dt_t a is that of all s from t on, and of the decay of
  // what came before t to the chunk's end.
  double through = 0;
  if (has_past && has_future) {
    through = double(decays.whole) *
              ssd_dot(pass.state(slot, chunk, false), pass.state(slot, chunk, true), s.state * s.dim_lanes);
  }
  double later = 0, earlier = 0;
  double da[kSsdChunk];
  for (int64_t t = at.n - 1; t >= 0; --t)
    da[t] = later += double(ds[t]) + double(decays.from_begin[t]) * double(from_past[t]);
  for (int64_t t = 0; t < at.n; ++t) {
    const double to_end = has_future ? double(decays.to_end[t]) * double(from_state[t]) : 0;
    const double dt = double(decays.dt[t]), a = double(pass.heads.a[head]);
    // exp(s_end - s_t) x . (dh B), without dt: that may be 0.
    const double without_dt = dt > 0 ? to_end / dt : 0;
    const double sum = double(ddt[t]) + without_dt + a * (da[t] + earlier + through);
    earlier += to_end;
    const float raw = pass.in.dt[(at.begin + t) * pass.in.dt_row + head] + pass.heads.dt_bias[head];
    g.dt[(at.begin + t) * g.dt_row + head] = float(sum) * ssd_softplus_slope(raw);
  }
}

// From the gradients of pairs: dC_t += sum_u of them B_u, dB_u += sum_t of them C_t.
template <class T>
void backward_pairs(const Pass<T>& pass, const SsdGradient& g, int64_t chunk, int64_t group,
                    std::byte* scratch) {
  const Sizes& s = pass.sizes;
  const Chunk at(chunk, pass.n_tokens);
  const int64_t inner = round_up(at.n, s.kernel.k_step), row = pass.in.row;
  const GroupChunk<T> shared = pass.of_group(chunk, group);
  Layout layout(scratch);
  const GroupScratch<T> w(layout, s);
  alignas(64) float ones[kSsdChunk];
  std::fill(ones, ones + kSsdChunk, 1.0f);
  const float *b = pass.b(at.begin, group), *c = pass.c(at.begin, group);
  pack_interleaved(w.interleaved, c, row, at.n, inner, s.state, s.state_lanes, nullptr, s.kernel, w.two);
  multiply(w.rows, s.state_lanes, as_left(w.left, shared.sums), kSsdChunk, w.interleaved, at.n, inner, false,
           s.kernel, Part::from_row);
  ssd_add_rows(g.b + at.begin * g.row + group * s.state, g.row, nullptr, w.rows, s.state_lanes, ones, b, row,
               at.n, s.state);
  transpose(reinterpret_cast<uint32_t*>(w.tile), kSsdChunk, reinterpret_cast<const uint32_t*>(shared.sums),
            kSsdChunk, kSsdChunk, kSsdChunk);
  pack_interleaved(w.interleaved, b, row, at.n, inner, s.state, s.state_lanes, nullptr, s.kernel, w.two);
  multiply(w.rows, s.state_lanes, as_left(w.left, w.tile), kSsdChunk, w.interleaved, at.n, inner, false,
           s.kernel, Part::up_to_row);
  ssd_add_rows(g.c + at.begin * g.row + group * s.state, g.row, nullptr, w.rows, s.state_lanes, ones, c, row,
               at.n, s.state);
}

template <class T>
void prepare_groups(const Pass<T>& pass, ThreadPool& pool) {
  pool.run(pass.n_chunks() * pass.shape.n_group, [&](int64_t task, int worker) {
    const UnitGuard guard(pass.sizes.kernel);
    prepare_group(pass, task / pass.shape.n_group, task % pass.shape.n_group, pass.worker(worker));
  });
}

template <class T>
void forward(const Pass<T>& pass, float* y, float* state, ThreadPool& pool) {
  prepare_groups(pass, pool);
  pool.run(pass.shape.n_head, [&](int64_t head, int worker) {
    const UnitGuard guard(pass.sizes.kernel);
    forward_head(pass, y, state, head, pass.worker(worker));
  });
}

template <class T>
void backward(const Pass<T>& pass, const SsdGradient& g, const float* dy, ThreadPool& pool) {
  const SsdShape& shape = pass.shape;
  const int64_t n_bc = shape.n_group * shape.n_state, n_heads = heads_at_once(shape, pass.n_workers);
  pool.for_range(pass.n_tokens, 64, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      std::fill_n(g.b + t * g.row, n_bc, 0.0f);
      std::fill_n(g.c + t * g.row, n_bc, 0.0f);
    }
  });
  prepare_groups(pass, pool);
  for (int64_t first = 0; first < shape.n_head; first += n_heads) {
    const int64_t n = std::min(n_heads, shape.n_head - first);
    pool.run(n, [&](int64_t slot, int worker) {
      const UnitGuard guard(pass.sizes.kernel);
      backward_states(pass, dy, first + slot, slot, pass.worker(worker));
    });
    // A chunk's task adds up what its heads give to B and C, in their order.
    pool.run(pass.n_chunks(), [&](int64_t chunk, int worker) {
      const UnitGuard guard(pass.sizes.kernel);
      for (int64_t slot = 0; slot < n; ++slot)
        backward_chunk(pass, g, dy, chunk, first + slot, slot, pass.worker(worker));
    });
  }
  pool.run(pass.n_chunks() * shape.n_group, [&](int64_t task, int worker) {
    const UnitGuard guard(pass.sizes.kernel);
    backward_pairs(pass, g, task / shape.n_group, task % shape.n_group, pass.worker(worker));
  });
}

template <class T>
Pass<T> make_pass(const SsdInput& in, const SsdHeads& heads, const SsdShape& shape, int64_t n_tokens,
                  bool is_backward, GemmInput input, std::span<std::byte> scratch, const ThreadPool& pool) {
  const int64_t needed = ssd_scratch_bytes(shape, n_tokens, is_backward, input, pool.size());
  if (int64_t(scratch.size()) < needed)
    fail("ssd: scratch of {} bytes, {} are needed", scratch.size(), needed);
  return {in, heads, shape, n_tokens, is_backward, {micro_kernel(input), shape}, scratch.data(), pool.size()};
}

}  // namespace

int64_t ssd_scratch_bytes(const SsdShape& shape, int64_t n_tokens, bool backward, GemmInput input,
                          int n_workers) {
  const Sizes sizes(micro_kernel(input), shape);
  return input == GemmInput::f32 ? scratch_bytes<float>(sizes, shape, n_tokens, backward, n_workers)
                                 : scratch_bytes<bf16>(sizes, shape, n_tokens, backward, n_workers);
}

void ssd_forward(float* y, const SsdInput& in, const SsdHeads& heads, const SsdShape& shape, int64_t n_tokens,
                 float* state, GemmInput input, std::span<std::byte> scratch, ThreadPool& pool) {
  const int64_t dim = shape.head_dim, size = shape.n_state * dim;
  if (isa() == Isa::scalar) {
    return pool.run(shape.n_head, [&](int64_t head, int) {
      std::vector<float> zeros(state ? 0 : size_t(size));
      ssd_forward_reference(y, in, heads, shape, n_tokens, head, state ? state + head * size : zeros.data());
    });
  }
  if (state && n_tokens <= kFewTokens) {
    return pool.run(shape.n_head, [&](int64_t head, int) {
      const int64_t group = head / (shape.n_head / shape.n_group) * shape.n_state;
      for (int64_t t = 0; t < n_tokens; ++t) {
        ssd_token(y + (t * shape.n_head + head) * dim, state + head * size, in.x + t * in.row + head * dim,
                  in.b + t * in.row + group, in.c + t * in.row + group, in.dt[t * in.dt_row + head],
                  heads.a[head], heads.dt_bias[head], heads.d[head], shape.n_state, dim);
      }
    });
  }
  if (input == GemmInput::f32) {
    forward(make_pass<float>(in, heads, shape, n_tokens, false, input, scratch, pool), y, state, pool);
  } else {
    forward(make_pass<bf16>(in, heads, shape, n_tokens, false, input, scratch, pool), y, state, pool);
  }
}

void ssd_backward(const SsdGradient& gradient, const float* dy, const SsdInput& in, const SsdHeads& heads,
                  const SsdShape& shape, int64_t n_tokens, GemmInput input, std::span<std::byte> scratch,
                  ThreadPool& pool) {
  if (isa() == Isa::scalar) {
    return pool.run(shape.n_group, [&](int64_t group, int) {
      ssd_backward_reference(gradient, dy, in, heads, shape, n_tokens, group);
    });
  }
  if (input == GemmInput::f32) {
    backward(make_pass<float>(in, heads, shape, n_tokens, true, input, scratch, pool), gradient, dy, pool);
  } else {
    backward(make_pass<bf16>(in, heads, shape, n_tokens, true, input, scratch, pool), gradient, dy, pool);
  }
}

}  // namespace lora
