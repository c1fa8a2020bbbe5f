#include "nn/attention.h"

#include <algorithm>

#include "base/elementary.h"
#include "kernels/attention/cache.h"
#include "nn/attention_scratch.h"
#include "nn/elementwise.h"

namespace lora {
namespace {

// Writes keys and values of the new tokens to the cache, unless another layer has, and attends to what is
// there.
void attend_to(const Past& past, float* out, const float* q, const float* k, const float* v,
               const AttentionShape& shape, int64_t n_tokens, NnContext& nn) {
  if (k) {
    cache_write(past.k_data, past.k, past.n_past, k, n_tokens, nn.pool);
    cache_write(past.v_data, past.v, past.n_past, v, n_tokens, nn.pool);
  }
  const AttentionSegment segment = cache_segment(0, n_tokens, past.n_past, shape.window, past.k.n_rows);
  attention_forward(out, q, past.k, past.v, {&segment, 1}, shape, nn.input,
                    attention_scratch(shape, segment.n_kv, false, nn), nn.pool);
}

// One of queries and keys: how it is turned, and back.
struct Turn {
  const AttentionForm& form;
  const Norm& norm;
  int64_t n_head;
  bool is_query;
  const Tokens& tokens;
  NnContext& nn;

  int64_t row() const { return n_head * form.shape.head_dim; }
  int64_t size() const { return tokens.n_tokens * row(); }
  int64_t n_normed() const { return size() / norm.n(); }

  void rope(float* x, bool inverse) const {
    if (form.rope < 0) return;
    rope_apply(x, tokens.positions, tokens.n_tokens, n_head, form.shape.head_dim,
               tokens.ropes[size_t(form.rope)], form.rope_style, inverse, nn.pool);
  }

  // Its own transpose, too.
  void temper(float* x) const {
    if (!is_query || form.temperature_scale == 0) return;
    nn.pool.for_range(tokens.n_tokens, 16, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t periods = tokens.positions[t] / form.temperature_length;
        const float factor = float(1 + double(form.temperature_scale) * elementary::log(double(periods + 1)));
        for (int64_t i = 0; i < row(); ++i) x[t * row() + i] *= factor;
      }
    });
  }

  // What Wq or Wk gave, in place, as far as it is kept: as its norm reads it, or turned where it has none.
  void prepare(float* x) const {
    if (form.clamp > 0) return;
    if (!norm || form.norm_after_rope) rope(x, false);
    if (!norm) temper(x);
  }

  // What the scores are made of, from what is kept: that itself where it has no norm. to may be kept.
  float* turned(float* to, float* kept) const {
    if (!changes()) return kept;
    if (form.clamp > 0) {
      clamp(to, kept, form.clamp, size(), nn.pool);
    } else {
      norm_forward(to, kept, norm, n_normed(), nn.pool);
    }
    if (!form.norm_after_rope) rope(to, false);
    temper(to);
    return to;
  }
  float* turned(float* kept) const { return turned(changes() ? nn.arena.take<float>(size()) : kept, kept); }
  // Whether more than a turn lies between what is kept and what scores are made of.
  bool changes() const { return norm || form.clamp > 0; }

  // From d, the gradient of turned(), that of what Wq or Wk gave: in d, or where it has a norm in `place`.
  float* backward(float* d, float* place, const float* kept) const {
    temper(d);
    if (!norm || !form.norm_after_rope) rope(d, true);
    if (form.clamp > 0) clamp_backward(d, kept, form.clamp, size(), nn.pool);
    if (!norm) return d;
    norm_backward(place, d, kept, norm, n_normed(), false, nn.pool);
    if (form.norm_after_rope) rope(place, true);
    return place;
  }
};

// Each head's query and gate, side by side in what Wq gives, one below the other, or back.
void split_gate(float* q, float* gate, const float* both, const AttentionForm& form, int64_t n_tokens,
                ThreadPool& pool) {
  const int64_t dim = form.shape.head_dim;
  pool.for_range(n_tokens * form.shape.n_head, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(both + 2 * i * dim, dim, q + i * dim);
      std::copy_n(both + (2 * i + 1) * dim, dim, gate + i * dim);
    }
  });
}
void join_gate(float* both, const float* q, const float* gate, const AttentionForm& form, int64_t n_tokens,
               ThreadPool& pool) {
  const int64_t dim = form.shape.head_dim;
  pool.for_range(n_tokens * form.shape.n_head, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(q + i * dim, dim, both + 2 * i * dim);
      std::copy_n(gate + i * dim, dim, both + (2 * i + 1) * dim);
    }
  });
}

// What Wo reads, in the arena where it is not what attention gave.
const float* gated(const Attention& a, const AttentionKept& kept, int64_t n_tokens, NnContext& nn) {
  if (!a.form.output_gate) return kept.out;
  const int64_t n = n_tokens * a.form.n_q();
  float* to = nn.arena.take<float>(n);
  sigmoid_gate_forward(to, kept.gate, kept.out, n, nn.pool);
  return to;
}

Turn query(const Attention& a, const Tokens& tokens, NnContext& nn) {
  return {a.form, a.q_norm, a.form.shape.n_head, true, tokens, nn};
}
Turn key(const Attention& a, const Tokens& tokens, NnContext& nn) {
  return {a.form, a.k_norm, a.form.shape.n_head_kv, false, tokens, nn};
}

// What Wv gave, or without it Wk.
const float* before_v_norm(const Attention& a, const AttentionKept& kept) {
  return a.has_v() ? kept.v : kept.k;
}

// Values as attention sees them, from what is kept; for passes that keep nothing else, in its place.
const float* values(const Attention& a, const AttentionKept& kept, int64_t n_tokens, NnContext& nn) {
  if (!a.v_norm && a.has_v()) return kept.v;
  const int64_t size = n_tokens * a.n_embd_kv();
  float* to = kept.pass == Pass::gradients ? nn.arena.take<float>(size) : kept.v;
  const float* from = before_v_norm(a, kept);
  if (a.v_norm) {
    norm_forward(to, from, a.v_norm, size / a.v_norm.n(), nn.pool);
  } else {
    copy(to, from, size, nn.pool);
  }
  return to;
}

// The gradient of what Wv gave, from that of values(); or without Wv dk, that of what Wk gave, gets its part.
const float* values_backward(float* dk, float* dv, const Attention& a, const AttentionKept& kept,
                             int64_t n_tokens, NnContext& nn) {
  const int64_t size = n_tokens * a.n_embd_kv();
  float* place = a.has_v() ? dv : dk;
  if (a.v_norm) {
    if (a.has_v()) place = nn.arena.take<float>(size);
    norm_backward(place, dv, before_v_norm(a, kept), a.v_norm, size / a.v_norm.n(), !a.has_v(), nn.pool);
  } else if (!a.has_v()) {
    add(dk, dv, 1, size, nn.pool);
  }
  return place;
}

// Of items for q, k and v those that there are.
template <class Item>
std::span<const Item> with_kv(const Attention& a, const Item (&qkv)[3]) {
  return std::span(qkv).first(!a.has_k() ? 1 : !a.has_v() ? 2 : 3);
}

}  // namespace

AttentionKept take_kept(Arena& arena, const Attention& a, int64_t n_tokens, Pass pass) {
  AttentionKept kept{pass};
  const auto take = [&](int64_t per_token) { return arena.take<float>(n_tokens * per_token); };
  kept.q = take(a.form.n_q());
  kept.out = take(a.form.n_q());
  if (a.form.output_gate) kept.gate = take(a.form.n_q());
  if (a.has_k()) {
    kept.k = take(a.n_embd_kv());
    if (a.has_v() || pass != Pass::gradients) kept.v = take(a.n_embd_kv());
  }
  if (pass == Pass::generation) return kept;
  kept.lse = take(a.form.shape.n_head);
  if (pass == Pass::losses) return kept;
  kept.xa_q = arena.take<float>(xa_size(a.q, n_tokens));
  if (a.has_k()) kept.xa_k = arena.take<float>(xa_size(a.k, n_tokens));
  if (a.has_v()) kept.xa_v = arena.take<float>(xa_size(a.v, n_tokens));
  kept.xa_o = arena.take<float>(xa_size(a.o, n_tokens));
  return kept;
}

void body_forward(float* y, bool add, const BodyInput& in, const Attention& a, const AttentionKept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn) {
  const int64_t n = tokens.n_tokens;
  {
    const ArenaScope scope(nn.arena);
    float* q = a.form.output_gate ? nn.arena.take<float>(n * a.q.n_out()) : kept.q;
    const LinearOutput qkv[] = {
        {&a.q, q, false, kept.xa_q}, {&a.k, kept.k, false, kept.xa_k}, {&a.v, kept.v, false, kept.xa_v}};
    linear_forward(with_kv(a, qkv), in.normed(nn), n, nn);
    if (a.form.output_gate) split_gate(kept.q, kept.gate, q, a.form, n, nn.pool);
  }
  const Turn q_turn = query(a, tokens, nn), k_turn = key(a, tokens, nn);
  q_turn.prepare(kept.q);
  if (a.form.clamp > 0 && a.has_v()) clamp(kept.v, kept.v, a.form.clamp, n * a.n_embd_kv(), nn.pool);
  {
    const ArenaScope scope(nn.arena);
    const bool keeps = kept.pass == Pass::gradients;  // what is not turned, next to what is
    const float* q = keeps ? q_turn.turned(kept.q) : q_turn.turned(kept.q, kept.q);
    SharedKv* shared = a.form.kv_slot >= 0 ? &tokens.shared[size_t(a.form.kv_slot)] : nullptr;
    const float *k = nullptr, *v = nullptr;
    if (a.has_k()) {
      v = values(a, kept, n, nn);
      k_turn.prepare(kept.k);
      k = keeps ? k_turn.turned(kept.k) : k_turn.turned(kept.k, kept.k);
      if (shared && past) {
        shared->past = past;
      } else if (shared) {
        copy(shared->k, k, n * a.n_embd_kv(), nn.pool);
        copy(shared->v, v, n * a.n_embd_kv(), nn.pool);
      }
    }
    const ProfileScope part(nn.profile, Part::attention);
    if (past) {
      attend_to(a.has_k() ? *past : *shared->past, kept.out, q, k, v, a.form.shape, n, nn);
    } else {
      if (!a.has_k()) k = shared->k, v = shared->v;
      attention_forward(kept.out, kept.lse, q, k, v, tokens.segments, a.form.shape, nn.input,
                        attention_scratch(a.form.shape, longest(tokens.segments), false, nn), nn.pool);
    }
  }
  const ArenaScope scope(nn.arena);
  const LinearOutput o = {&a.o, y, add, kept.xa_o};
  linear_forward({&o, 1}, gated(a, kept, n, nn), n, nn);
}

void body_backward(float* dx, const float* dy, const BodyInput& in, const Attention& a,
                   const AttentionKept& kept, const Tokens& tokens, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const int64_t n = tokens.n_tokens, n_kv = n * a.n_embd_kv();
  float* dk = nn.arena.take<float>(n_kv);
  float* dv = nn.arena.take<float>(n_kv);
  float* dout = nn.arena.take<float>(n * a.form.n_q());
  float* dq = kept.out;
  {
    const ArenaScope inner(nn.arena);
    const LinearGradient o = {&a.o, dy, kept.xa_o};
    linear_backward(dout, {&o, 1}, gated(a, kept, n, nn), n, nn);
    if (a.form.output_gate)
      sigmoid_gate_backward(kept.gate, dout, kept.gate, kept.out, n * a.form.n_q(), nn.pool);
  }
  const Turn q_turn = query(a, tokens, nn), k_turn = key(a, tokens, nn);
  float* q = q_turn.turned(kept.q);
  SharedKv* shared = a.form.kv_slot >= 0 ? &tokens.shared[size_t(a.form.kv_slot)] : nullptr;
  float* k = a.has_k() ? k_turn.turned(kept.k) : shared->k;
  const float* v = a.has_k() ? values(a, kept, n, nn) : shared->v;
  {
    const ArenaScope inner(nn.arena);
    const ProfileScope part(nn.profile, Part::attention);
    attention_backward(dq, dk, dv, dout, kept.out, kept.lse, q, k, v, tokens.segments, a.form.shape, nn.input,
                       attention_scratch(a.form.shape, longest(tokens.segments), true, nn), nn.pool);
  }
  if (shared && shared->dk) {
    add(a.has_k() ? dk : shared->dk, a.has_k() ? shared->dk : dk, 1, n_kv, nn.pool);
    add(a.has_k() ? dv : shared->dv, a.has_k() ? shared->dv : dv, 1, n_kv, nn.pool);
  }
  dq = q_turn.backward(dq, q, kept.q);
  const float* dv_of_w = nullptr;
  if (a.has_k()) {
    if (a.form.clamp > 0 && a.has_v()) clamp_backward(dv, kept.v, a.form.clamp, n_kv, nn.pool);
    dk = k_turn.backward(dk, k, kept.k);
    dv_of_w = values_backward(dk, dv, a, kept, n, nn);
  }
  if (a.form.output_gate) {
    float* both = nn.arena.take<float>(n * a.q.n_out());
    join_gate(both, dq, kept.gate, a.form, n, nn.pool);
    dq = both;
  }
  const float* normed = in.normed(nn);
  float* dnormed = in.wants_gradient(dx) ? in.gradient_place(normed, nn) : nullptr;
  const LinearGradient qkv[] = {{&a.q, dq, kept.xa_q}, {&a.k, dk, kept.xa_k}, {&a.v, dv_of_w, kept.xa_v}};
  linear_backward(dnormed, with_kv(a, qkv), normed, n, nn);
  if (dnormed) in.add_gradient(dx, dnormed, nn);
}

}  // namespace lora
