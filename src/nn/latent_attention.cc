#include "nn/latent_attention.h"

#include <algorithm>
#include <vector>

#include "kernels/attention/cache.h"
#include "nn/attention_scratch.h"
#include "nn/elementwise.h"

namespace lora {
namespace {

// Keys and values of each head.
AttentionShape of_heads(const LatentForm& f) {
  AttentionShape shape{f.n_head, f.n_head, f.key_dim(), f.scale};
  shape.value_dim = f.v_dim;
  return shape;
}
// Latents in their place.
AttentionShape of_latents(const LatentForm& f) {
  AttentionShape shape{f.n_head, 1, f.latent_dim(), f.scale};
  shape.value_dim = f.kv_rank;
  return shape;
}

// Rows of numbers in an array: `row` apart.
struct Columns {
  float* data;
  int64_t row;
};
struct ConstColumns {
  ConstColumns(const float* d, int64_t r) : data(d), row(r) {}
  ConstColumns(const Columns& c) : data(c.data), row(c.row) {}
  const float* data;
  int64_t row;
};

void copy_rows(const Columns& to, const ConstColumns& from, int64_t n_rows, int64_t n_cols,
               ThreadPool& pool) {
  pool.for_range(n_rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) std::copy_n(from.data + r * from.row, n_cols, to.data + r * to.row);
  });
}

// What is here token by token, each with its heads, and there head by head, each with its tokens.
void to_heads(float* heads, const ConstColumns& tokens, int64_t n_tokens, int64_t n_head, int64_t n_cols,
              ThreadPool& pool) {
  pool.for_range(n_tokens, 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < n_head; ++h)
        std::copy_n(tokens.data + (t * n_head + h) * tokens.row, n_cols, heads + (h * n_tokens + t) * n_cols);
    }
  });
}
void to_tokens(const Columns& tokens, const float* heads, int64_t n_tokens, int64_t n_head, int64_t n_cols,
               ThreadPool& pool) {
  pool.for_range(n_tokens, 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < n_head; ++h)
        std::copy_n(heads + (h * n_tokens + t) * n_cols, n_cols, tokens.data + (t * n_head + h) * tokens.row);
    }
  });
}

// A call of the body.
class LatentCall {
 public:
  LatentCall(const LatentAttention& a, const LatentKept& kept, const Tokens& tokens, NnContext& nn)
      : a_(a), f_(a.form), kept_(kept), tokens_(tokens), n_(tokens.n_tokens), nn_(nn) {}

  // q, c and k_pe.
  void project(const BodyInput& in) const {
    const ArenaScope scope(nn_.arena);
    float* latent = take(f_.latent_dim());
    {
      const ArenaScope inner(nn_.arena);
      const LinearOutput outputs[] = {
          a_.has_q_a() ? LinearOutput{&a_.q_a, kept_.q_a, false, kept_.xa_q_a}
                       : LinearOutput{&a_.q, kept_.q, false, kept_.xa_q},
          {&a_.kv_a, latent, false, kept_.xa_kv_a},
      };
      linear_forward(outputs, in.normed(nn_), n_, nn_);
    }
    copy_rows({kept_.c, f_.kv_rank}, {latent, f_.latent_dim()}, n_, f_.kv_rank, nn_.pool);
    copy_rows({kept_.k_pe, f_.n_rope}, {latent + f_.kv_rank, f_.latent_dim()}, n_, f_.n_rope, nn_.pool);
    if (a_.has_q_a()) {
      const ArenaScope inner(nn_.arena);
      const LinearOutput q = {&a_.q, kept_.q, false, kept_.xa_q};
      linear_forward({&q, 1}, normed_q_a(), n_, nn_);
    }
    turn_queries(kept_.q, false);
    turn_keys(kept_.k_pe, false);
  }

  float* normed_q_a() const {
    float* normed = take(a_.q_a.n_out());
    norm_forward(normed, kept_.q_a, a_.q_norm, n_, nn_.pool);
    return normed;
  }
  float* normed_c() const {
    float* c = take(f_.kv_rank);
    norm_forward(c, kept_.c, a_.kv_norm, n_, nn_.pool);
    return c;
  }

  void turn_queries(float* q, bool inverse) const {
    rope_apply(q + f_.n_nope, tokens_.positions, n_, f_.n_head, f_.key_dim(), table(), f_.rope_style, inverse,
               nn_.pool);
  }
  void turn_keys(float* k_pe, bool inverse) const {
    rope_apply(k_pe, tokens_.positions, n_, 1, f_.n_rope, table(), f_.rope_style, inverse, nn_.pool);
  }

  // k (n_tokens, n_head * key_dim) and v (n_tokens, n_head * v_dim) from c, as normed. xa of kv_b, or
  // nullptr.
  void expand(float* k, float* v, const float* c, float* xa) const {
    const ArenaScope scope(nn_.arena);
    const LatentForm& f = f_;
    float* heads = nullptr;  // (n_head, n_tokens, n_nope)
    float* kv = nullptr;     // (n_tokens, n_head * kv_dim): all, or what adapters add
    if (a_.is_apart()) {
      heads = take(f.n_head * f.n_nope);
      expand_apart(heads, v, c);
    }
    if (!a_.is_apart() || !a_.kv_b.loras.empty()) {
      kv = take(f.n_head * f.kv_dim());
      if (a_.is_apart()) set_zero(kv, n_ * f.n_head * f.kv_dim(), nn_.pool);
      const LinearOutput output = {&a_.kv_b, kv, a_.is_apart(), xa};
      linear_forward({&output, 1}, c, n_, nn_);
    }
    nn_.pool.for_range(n_, 4, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t h = 0; h < f.n_head; ++h) {
          float* __restrict k_h = k + (t * f.n_head + h) * f.key_dim();
          float* __restrict v_h = v + (t * f.n_head + h) * f.v_dim;
          const float* kv_h = kv ? kv + (t * f.n_head + h) * f.kv_dim() : nullptr;
          std::copy_n(heads ? heads + (h * n_ + t) * f.n_nope : kv_h, f.n_nope, k_h);
          if (!heads) std::copy_n(kv_h + f.n_nope, f.v_dim, v_h);
          for (int64_t i = 0; i < f.n_nope && heads && kv; ++i) k_h[i] += kv_h[i];
          for (int64_t i = 0; i < f.v_dim && heads && kv; ++i) v_h[i] += kv_h[f.n_nope + i];
          std::copy_n(kept_.k_pe + t * f.n_rope, f.n_rope, k_h + f.n_nope);
        }
      }
    });
  }

  // dc (n_tokens, kv_rank), the gradient of c as normed, from those of keys and values. xa: of kv_b.
  void contract(float* dc, const float* dk, const float* dv, const float* c, const float* xa) const {
    const ArenaScope scope(nn_.arena);
    const LatentForm& f = f_;
    const bool whole = !a_.is_apart() || !a_.kv_b.loras.empty();
    if (whole) {
      const ArenaScope inner(nn_.arena);
      float* dkv = take(f.n_head * f.kv_dim());
      const int64_t rows = n_ * f.n_head;
      copy_rows({dkv, f.kv_dim()}, {dk, f.key_dim()}, rows, f.n_nope, nn_.pool);
      copy_rows({dkv + f.n_nope, f.kv_dim()}, {dv, f.v_dim}, rows, f.v_dim, nn_.pool);
      const LinearGradient gradient = {&a_.kv_b, dkv, xa};
      linear_backward(dc, {&gradient, 1}, c, n_, nn_);
    }
    if (!a_.is_apart()) return;
    const ProfileScope part(nn_.profile, Part::gemm_input_gradient);
    {
      const ArenaScope inner(nn_.arena);
      const GemmTerm term = {pack(pack_gradient, dv, n_, f.n_head * f.v_dim), a_.v_b.w};
      gemm_input_gradient(dc, {&term, 1}, whole, nn_.input, nn_.scratch, nn_.pool);
    }
    float* heads = take(f.n_head * f.n_nope);
    to_heads(heads, {dk, f.key_dim()}, n_, f.n_head, f.n_nope, nn_.pool);
    std::vector<GemmTerm> terms;
    for (int64_t h = 0; h < f.n_head; ++h)
      terms.push_back({pack(pack_forward, heads + h * n_ * f.n_nope, n_, f.n_nope), stack_rows(a_.k_b, h)});
    gemm_forward(dc, terms, true, nn_.input, nn_.scratch, nn_.pool);
  }

  // out, from q and the latents: those of these tokens (c as normed), or with a past of all so far.
  void attend_to_latents(const float* c, const Past* past) const {
    const ArenaScope scope(nn_.arena);
    const LatentForm& f = f_;
    float* q = take(f.n_head * f.latent_dim());
    float* keys = take(f.latent_dim());
    float* sums = take(f.n_head * f.kv_rank);
    absorb(q);
    copy_rows({keys, f.latent_dim()}, {c, f.kv_rank}, n_, f.kv_rank, nn_.pool);
    copy_rows({keys + f.kv_rank, f.latent_dim()}, {kept_.k_pe, f.n_rope}, n_, f.n_rope, nn_.pool);
    {
      const ArenaScope inner(nn_.arena);
      const ProfileScope part(nn_.profile, Part::attention);
      const AttentionShape shape = of_latents(f);
      if (past) {
        cache_write(past->k_data, past->k, past->n_past, keys, n_, nn_.pool);
        const AttentionSegment segment = cache_segment(0, n_, past->n_past, 0, past->k.n_rows);
        attention_forward(sums, q, past->k, past->k, {&segment, 1}, shape, nn_.input,
                          attention_scratch(shape, segment.n_kv, false, nn_), nn_.pool);
      } else {
        attention_forward(sums, nullptr, q, keys, c, tokens_.segments, shape, nn_.input,
                          attention_scratch(shape, longest(tokens_.segments), false, nn_), nn_.pool);
      }
    }
    float* of_heads = take(f.n_head * f.kv_rank);
    float* values = take(f.n_head * f.v_dim);
    to_heads(of_heads, {sums, f.kv_rank}, n_, f.n_head, f.kv_rank, nn_.pool);
    std::vector<Linear> layers;
    std::vector<LinearOutput> outputs;
    std::vector<LinearGroup> groups;
    for (int64_t h = 0; h < f.n_head; ++h)
      layers.push_back(head_of(h, f.n_nope, f.v_dim, a_.is_apart() ? &a_.v_b : nullptr));
    for (int64_t h = 0; h < f.n_head; ++h) outputs.push_back({&layers[size_t(h)], values + h * n_ * f.v_dim});
    for (int64_t h = 0; h < f.n_head; ++h)
      groups.push_back({{&outputs[size_t(h)], 1}, {of_heads + h * n_ * f.kv_rank, nullptr, n_}});
    linear_forward(groups, size_of_heads(), nn_);
    to_tokens({kept_.out, f.v_dim}, values, n_, f.n_head, f.v_dim, nn_.pool);
  }

 private:
  float* take(int64_t per_token) const { return nn_.arena.take<float>(n_ * per_token); }
  const RopeTable& table() const { return tokens_.ropes[size_t(f_.rope)]; }

  MatrixView stack_rows(const Linear& stack, int64_t head) const {
    const int64_t n = stack.n_out() / f_.n_head;
    return stack.w.rows(head * n, n);
  }
  Linear of_stack(const Linear& stack, int64_t head) const {
    Linear layer = stack;
    layer.w = stack_rows(stack, head);
    layer.slice = head;
    layer.stream += uint64_t(head);
    return layer;
  }

  using Pack = PackedTokens(std::byte*, const float*, int64_t, int64_t, float, GemmInput, ThreadPool&);
  PackedTokens pack(Pack* as, const float* x, int64_t n_rows, int64_t n_cols) const {
    auto* storage = nn_.arena.take<std::byte>(packed_bytes(nn_.input, n_rows, n_cols));
    return as(storage, x, n_rows, n_cols, 1.0f, nn_.input, nn_.pool);
  }

  void expand_apart(float* heads, float* v, const float* c) const {
    const ProfileScope part(nn_.profile, Part::gemm_forward);
    const ArenaScope scope(nn_.arena);
    const GemmTerm values = {pack(pack_forward, c, n_, f_.kv_rank), a_.v_b.w};
    gemm_forward(v, {&values, 1}, false, nn_.input, nn_.scratch, nn_.pool);
    const PackedTokens packed = pack(pack_gradient, c, n_, f_.kv_rank);
    std::vector<GemmTerm> terms;
    std::vector<GemmProduct> products;
    for (int64_t h = 0; h < f_.n_head; ++h) terms.push_back({packed, stack_rows(a_.k_b, h)});
    for (int64_t h = 0; h < f_.n_head; ++h)
      products.push_back({heads + h * n_ * f_.n_nope, {&terms[size_t(h)], 1}});
    gemm_input_gradient(products, false, nn_.input, nn_.scratch, nn_.pool);
  }

  GroupSize size_of_heads() const { return {n_, n_ * f_.n_head, padded_rows(nn_.input, n_) * f_.n_head}; }

  // Rows [first, first + n_rows) of a head's part of kv_b, as a layer with their share of its adapters, which
  // are not trained here. stack: where the weights are, if not in kv_b.
  Linear head_of(int64_t head, int64_t first, int64_t n_rows, const Linear* stack) const {
    const int64_t row = head * f_.kv_dim() + first;
    Linear layer = stack ? of_stack(*stack, head) : a_.kv_b;
    if (!stack) {
      layer.w = a_.kv_b.w.rows(row, n_rows);
      layer.stream += uint64_t(row);
    }
    layer.loras = a_.kv_b.loras;
    for (LoraView& lora : layer.loras) {
      lora.b += row * lora.rank;
      lora.da = lora.db = nullptr;
      lora.dropout = 0;
    }
    return layer;
  }

  // q (n_tokens, n_head * latent_dim): each head's key part in it.
  void absorb(float* q) const {
    const ArenaScope scope(nn_.arena);
    const LatentForm& f = f_;
    float* heads = take(f.n_head * f.n_nope);
    float* latents = take(f.n_head * f.kv_rank);
    to_heads(heads, {kept_.q, f.key_dim()}, n_, f.n_head, f.n_nope, nn_.pool);
    const bool whole = !a_.is_apart() || !a_.kv_b.loras.empty();
    if (whole) {
      std::vector<Linear> layers;
      std::vector<LinearGradient> gradients;
      std::vector<LinearGroupGradient> groups;
      for (int64_t h = 0; h < f.n_head; ++h) layers.push_back(head_of(h, 0, f.n_nope, nullptr));
      for (int64_t h = 0; h < f.n_head; ++h)
        gradients.push_back({&layers[size_t(h)], heads + h * n_ * f.n_nope, nullptr});
      for (int64_t h = 0; h < f.n_head; ++h) {
        groups.push_back({latents + h * n_ * f.kv_rank, {&gradients[size_t(h)], 1}, {nullptr, nullptr, n_}});
      }
      linear_backward(groups, size_of_heads(), nn_);
    }
    if (a_.is_apart()) {
      std::vector<Linear> layers;
      std::vector<LinearOutput> outputs;
      std::vector<LinearGroup> groups;
      for (int64_t h = 0; h < f.n_head; ++h) layers.push_back(of_stack(a_.k_b, h));
      for (int64_t h = 0; h < f.n_head; ++h)
        outputs.push_back({&layers[size_t(h)], latents + h * n_ * f.kv_rank, whole});
      for (int64_t h = 0; h < f.n_head; ++h)
        groups.push_back({{&outputs[size_t(h)], 1}, {heads + h * n_ * f.n_nope, nullptr, n_}});
      linear_forward(groups, size_of_heads(), nn_);
    }
    to_tokens({q, f.latent_dim()}, latents, n_, f.n_head, f.kv_rank, nn_.pool);
    copy_rows({q + f.kv_rank, f.latent_dim()}, {kept_.q + f.n_nope, f.key_dim()}, n_ * f.n_head, f.n_rope,
              nn_.pool);
  }

  const LatentAttention& a_;
  const LatentForm& f_;
  const LatentKept& kept_;
  const Tokens& tokens_;
  const int64_t n_;
  NnContext& nn_;
};

// Who watches what goes into weights sees it as files have them: through attention over latents. Watching is
// no part of a plan, so that this has an arena of its own.
void show_inputs(const float* c, const LatentAttention& a, const LatentKept& kept, const Tokens& tokens,
                 NnContext& nn) {
  Arena measuring = Arena::measuring();
  ThreadPool dry(ThreadPool::DryRun{nn.pool.size()});
  NnContext planned{dry, nn.input, nn.scratch, measuring, nullptr, nn.dot};
  LatentCall(a, kept, tokens, planned).attend_to_latents(c, nullptr);
  Arena arena(measuring.peak());
  NnContext own{nn.pool, nn.input, nn.scratch, arena, nn.profile, nn.dot};
  own.observe = nn.observe;
  LatentCall(a, kept, tokens, own).attend_to_latents(c, nullptr);
}

}  // namespace

LatentKept take_kept(Arena& arena, const LatentAttention& a, int64_t n_tokens, Pass pass) {
  LatentKept kept{pass};
  const auto take = [&](int64_t per_token) { return arena.take<float>(n_tokens * per_token); };
  if (a.has_q_a()) kept.q_a = take(a.q_a.n_out());
  kept.q = take(a.q.n_out());
  kept.c = take(a.form.kv_rank);
  kept.k_pe = take(a.form.n_rope);
  kept.out = take(a.o.n_in());
  if (pass == Pass::generation) return kept;
  kept.lse = take(a.form.n_head);
  if (pass == Pass::losses) return kept;
  if (a.has_q_a()) kept.xa_q_a = arena.take<float>(xa_size(a.q_a, n_tokens));
  kept.xa_q = arena.take<float>(xa_size(a.q, n_tokens));
  kept.xa_kv_a = arena.take<float>(xa_size(a.kv_a, n_tokens));
  kept.xa_o = arena.take<float>(xa_size(a.o, n_tokens));
  return kept;
}

void body_forward(float* y, bool add, const BodyInput& in, const LatentAttention& a, const LatentKept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn) {
  const int64_t n = tokens.n_tokens;
  const LatentCall call(a, kept, tokens, nn);
  call.project(in);
  {
    const ArenaScope scope(nn.arena);
    const float* c = call.normed_c();
    if (past) {
      call.attend_to_latents(c, past);
    } else if (nn.observe && a.is_apart()) {
      show_inputs(c, a, kept, tokens, nn);
    } else {
      float* k = nn.arena.take<float>(n * a.form.n_head * a.form.key_dim());
      float* v = nn.arena.take<float>(n * a.o.n_in());
      call.expand(k, v, c, nullptr);
      const ProfileScope part(nn.profile, Part::attention);
      const AttentionShape shape = of_heads(a.form);
      attention_forward(kept.out, kept.lse, kept.q, k, v, tokens.segments, shape, nn.input,
                        attention_scratch(shape, longest(tokens.segments), false, nn), nn.pool);
    }
  }
  const LinearOutput o = {&a.o, y, add, kept.xa_o};
  linear_forward({&o, 1}, kept.out, n, nn);
}

void body_backward(float* dx, const float* dy, const BodyInput& in, const LatentAttention& a,
                   const LatentKept& kept, const Tokens& tokens, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const int64_t n = tokens.n_tokens;
  const LatentForm& f = a.form;
  const auto take = [&](int64_t per_token) { return nn.arena.take<float>(n * per_token); };
  const LatentCall call(a, kept, tokens, nn);
  float* dq = take(a.q.n_out());
  float* dlatent = take(f.latent_dim());
  {
    const ArenaScope inner(nn.arena);
    float* dc = take(f.kv_rank);
    float* dc_raw = take(f.kv_rank);
    float* dk_pe = take(f.n_rope);
    const float* c = call.normed_c();
    float* xa = nn.arena.take<float>(xa_size(a.kv_b, n));
    float* dout = take(a.o.n_in());
    float* k = take(a.q.n_out());
    float* v = take(a.o.n_in());
    float* dk = take(a.q.n_out());
    float* dv = take(a.o.n_in());
    const LinearGradient o = {&a.o, dy, kept.xa_o};
    linear_backward(dout, {&o, 1}, kept.out, n, nn);
    call.expand(k, v, c, xa);
    {
      const ArenaScope innermost(nn.arena);
      const ProfileScope part(nn.profile, Part::attention);
      const AttentionShape shape = of_heads(f);
      attention_backward(dq, dk, dv, dout, kept.out, kept.lse, kept.q, k, v, tokens.segments, shape, nn.input,
                         attention_scratch(shape, longest(tokens.segments), true, nn), nn.pool);
    }
    call.contract(dc, dk, dv, c, xa);
    norm_backward(dc_raw, dc, kept.c, a.kv_norm, n, false, nn.pool);
    nn.pool.for_range(n, 16, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        float* sum = dk_pe + t * f.n_rope;
        std::fill_n(sum, f.n_rope, 0.0f);
        for (int64_t h = 0; h < f.n_head; ++h) {
          const float* of_head = dk + (t * f.n_head + h) * f.key_dim() + f.n_nope;
          for (int64_t i = 0; i < f.n_rope; ++i) sum[i] += of_head[i];
        }
      }
    });
    call.turn_keys(dk_pe, true);
    copy_rows({dlatent, f.latent_dim()}, {dc_raw, f.kv_rank}, n, f.kv_rank, nn.pool);
    copy_rows({dlatent + f.kv_rank, f.latent_dim()}, {dk_pe, f.n_rope}, n, f.n_rope, nn.pool);
  }
  call.turn_queries(dq, true);
  if (a.has_q_a()) {
    const ArenaScope inner(nn.arena);
    float* normed = call.normed_q_a();
    const LinearGradient q = {&a.q, dq, kept.xa_q};
    linear_backward(normed, {&q, 1}, normed, n, nn);
    norm_backward(kept.q_a, normed, kept.q_a, a.q_norm, n, false, nn.pool);
  }
  const float* normed = in.normed(nn);
  float* dnormed = in.wants_gradient(dx) ? in.gradient_place(normed, nn) : nullptr;
  const LinearGradient inputs[] = {
      a.has_q_a() ? LinearGradient{&a.q_a, kept.q_a, kept.xa_q_a} : LinearGradient{&a.q, dq, kept.xa_q},
      {&a.kv_a, dlatent, kept.xa_kv_a},
  };
  linear_backward(dnormed, inputs, normed, n, nn);
  if (dnormed) in.add_gradient(dx, dnormed, nn);
}

}  // namespace lora
