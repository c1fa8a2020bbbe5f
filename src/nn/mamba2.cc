#include "nn/mamba2.h"

#include <algorithm>

#include "kernels/activation/activation.h"
#include "kernels/rmsnorm/rmsnorm.h"

namespace lora {
namespace {

SsdInput input_of(const Mamba2& m, const float* xbc, const float* dt, int64_t begin) {
  const int64_t row = m.n_conv(), n_bc = m.shape.n_group * m.shape.n_state;
  const float* x = xbc + begin * row;
  return {x, x + m.n_inner(), x + m.n_inner() + n_bc, row, dt + begin * m.shape.n_head, m.shape.n_head};
}

std::span<std::byte> ssd_scratch(const Mamba2& m, int64_t n_tokens, bool backward, NnContext& nn) {
  const int64_t bytes = ssd_scratch_bytes(m.shape, n_tokens, backward, nn.input, nn.pool.size());
  return {nn.arena.take<std::byte>(bytes), size_t(bytes)};
}

int64_t longest_segment(const Tokens& tokens) {
  int64_t n = 0;
  for (const AttentionSegment& s : tokens.segments) n = std::max(n, s.n_q);
  return n;
}

// rows (n_tokens, n_inner) times the norm's gain, column by column.
void multiply_by_gain(float* rows, const Mamba2& m, int64_t n_tokens, ThreadPool& pool) {
  const int64_t n = m.n_inner();
  pool.for_range(n_tokens, 8, [&](int64_t begin, int64_t end) {
    for (float* row = rows + begin * n; row < rows + end * n; row += n) {
      for (int64_t i = 0; i < n; ++i) row[i] *= m.gain[i];
    }
  });
}

// Each group of columns is a row of its own to the kernel, and has gains of its own.
void norm(float* y, const float* x, const Mamba2& m, int64_t n_tokens, ThreadPool& pool) {
  const int64_t n_group = m.shape.n_group;
  rms_norm_forward(y, x, n_group == 1 ? m.gain : nullptr, m.norm_eps, n_tokens * n_group,
                   m.n_inner() / n_group, pool);
  if (n_group > 1) multiply_by_gain(y, m, n_tokens, pool);
}

// x becomes its gradient; dy is overwritten.
void norm_gradient(float* x, float* dy, const Mamba2& m, int64_t n_tokens, ThreadPool& pool) {
  const int64_t n_group = m.shape.n_group;
  if (n_group > 1) multiply_by_gain(dy, m, n_tokens, pool);
  rms_norm_backward(x, dy, x, n_group == 1 ? m.gain : nullptr, m.norm_eps, n_tokens * n_group,
                    m.n_inner() / n_group, false, pool);
}

}  // namespace

Mamba2Kept take_kept(Arena& arena, const Mamba2& m, int64_t n_tokens, Pass pass) {
  Mamba2Kept kept;
  kept.z = arena.take<float>(n_tokens * m.n_inner());
  kept.u = arena.take<float>(n_tokens * m.n_conv());
  kept.dt = arena.take<float>(n_tokens * m.shape.n_head);
  kept.s = arena.take<float>(n_tokens * m.n_inner());
  if (pass != Pass::gradients) return kept;
  kept.xa_z = arena.take<float>(xa_size(m.z, n_tokens));
  kept.xa_u = arena.take<float>(xa_size(m.u, n_tokens));
  kept.xa_dt = arena.take<float>(xa_size(m.dt, n_tokens));
  kept.xa_out = arena.take<float>(xa_size(m.out, n_tokens));
  return kept;
}

void body_forward(float* y, bool add, const BodyInput& in, const Mamba2& m, const Mamba2Kept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn) {
  const int64_t n = tokens.n_tokens, n_inner = m.n_inner(), n_conv = m.n_conv();
  {
    const ArenaScope scope(nn.arena);
    const LinearOutput parts[] = {{&m.z, kept.z, false, kept.xa_z},
                                  {&m.u, kept.u, false, kept.xa_u},
                                  {&m.dt, kept.dt, false, kept.xa_dt}};
    linear_forward(parts, in.normed(nn), n, nn);
  }
  {
    const ArenaScope scope(nn.arena);
    const ProfileScope part(nn.profile, Part::scans);
    float* xbc = nn.arena.take<float>(n * n_conv);
    if (past) {
      float* states = past->state ? past->state + (m.conv.d_conv - 1) * n_conv : nullptr;
      causal_conv_next(xbc, n_conv, past->state, kept.u, n_conv, n, m.conv, nn.pool);
      ssd_forward(kept.s, input_of(m, xbc, kept.dt, 0), m.heads, m.shape, n, states, nn.input,
                  ssd_scratch(m, n, false, nn), nn.pool);
    } else {
      causal_conv_forward(xbc, n_conv, kept.u, n_conv, tokens.segments, m.conv, nn.pool);
      const std::span<std::byte> place = ssd_scratch(m, longest_segment(tokens), false, nn);
      for (const AttentionSegment& s : tokens.segments) {
        ssd_forward(kept.s + s.q_begin * n_inner, input_of(m, xbc, kept.dt, s.q_begin), m.heads, m.shape,
                    s.n_q, nullptr, nn.input, place, nn.pool);
      }
    }
  }
  const ArenaScope scope(nn.arena);
  float* product = nn.arena.take<float>(n * n_inner);
  gated_forward(product, kept.z, kept.s, n * n_inner, Activation::silu, nn.pool);
  if (m.gain) norm(product, product, m, n, nn.pool);
  const LinearOutput out = {&m.out, y, add, kept.xa_out};
  linear_forward({&out, 1}, product, n, nn);
}

void body_backward(float* dx, const float* dy, const BodyInput& in, const Mamba2& m, const Mamba2Kept& kept,
                   const Tokens& tokens, NnContext& nn) {
  const ArenaScope outer(nn.arena);
  const int64_t n = tokens.n_tokens, n_inner = m.n_inner(), n_conv = m.n_conv();
  {
    const ArenaScope scope(nn.arena);
    float* product = nn.arena.take<float>(n * n_inner);
    float* normed = m.gain ? nn.arena.take<float>(n * n_inner) : product;
    gated_forward(product, kept.z, kept.s, n * n_inner, Activation::silu, nn.pool);
    if (m.gain) norm(normed, product, m, n, nn.pool);
    const LinearGradient out = {&m.out, dy, kept.xa_out};
    linear_backward(normed, {&out, 1}, normed, n, nn);
    if (m.gain) norm_gradient(product, normed, m, n, nn.pool);
    gated_backward(kept.z, kept.s, product, kept.z, kept.s, n * n_inner, Activation::silu, nn.pool);
  }
  float* xbc = nn.arena.take<float>(n * n_conv);
  float* ddt = nn.arena.take<float>(n * m.shape.n_head);
  {
    const ArenaScope scope(nn.arena);
    const ProfileScope part(nn.profile, Part::scans);
    float* dxbc = nn.arena.take<float>(n * n_conv);
    causal_conv_forward(xbc, n_conv, kept.u, n_conv, tokens.segments, m.conv, nn.pool);
    {
      const std::span<std::byte> place = ssd_scratch(m, longest_segment(tokens), true, nn);
      for (const AttentionSegment& s : tokens.segments) {
        const SsdInput d = input_of(m, dxbc, ddt, s.q_begin);
        const SsdGradient gradient{const_cast<float*>(d.x),  const_cast<float*>(d.b),
                                   const_cast<float*>(d.c),  d.row,
                                   const_cast<float*>(d.dt), d.dt_row};
        ssd_backward(gradient, kept.s + s.q_begin * n_inner, input_of(m, xbc, kept.dt, s.q_begin), m.heads,
                     m.shape, s.n_q, nn.input, place, nn.pool);
      }
    }
    causal_conv_backward(xbc, n_conv, dxbc, n_conv, kept.u, n_conv, tokens.segments, m.conv, nn.pool);
  }
  const float* normed = in.normed(nn);
  float* dnormed = in.wants_gradient(dx) ? in.gradient_place(normed, nn) : nullptr;
  const LinearGradient parts[] = {
      {&m.z, kept.z, kept.xa_z}, {&m.u, xbc, kept.xa_u}, {&m.dt, ddt, kept.xa_dt}};
  linear_backward(dnormed, parts, normed, n, nn);
  if (dnormed) in.add_gradient(dx, dnormed, nn);
}

}  // namespace lora
