#include "nn/short_conv.h"

namespace lora {
namespace {

// Rows that loops over b, c and u take at a time: some tens of thousands of numbers.
int64_t grain(int64_t n_channels) {
  return std::max<int64_t>(1, 16384 / n_channels);
}

// p = bcu's column block `column` times q, row by row; q is another block, or an array of its own.
void multiply_columns(float* p, const float* bcu, int64_t column, const float* q, int64_t q_stride,
                      int64_t n_tokens, int64_t n, ThreadPool& pool) {
  pool.for_range(n_tokens, grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *a = bcu + (3 * t + column) * n, *b = q + t * q_stride;
      float* to = p + t * n;
      for (int64_t i = 0; i < n; ++i) to[i] = a[i] * b[i];
    }
  });
}

// b * u
void gated_input(float* p, const float* bcu, int64_t n_tokens, int64_t n, ThreadPool& pool) {
  multiply_columns(p, bcu, 0, bcu + 2 * n, 3 * n, n_tokens, n, pool);
}
// p = c * p
void gate_output(float* p, const float* bcu, const float* z, int64_t n_tokens, int64_t n, ThreadPool& pool) {
  multiply_columns(p, bcu, 1, z, n, n_tokens, n, pool);
}

}  // namespace

ShortConvKept take_kept(Arena& arena, const ShortConv& conv, int64_t n_tokens, Pass pass) {
  ShortConvKept kept;
  kept.bcu = arena.take<float>(n_tokens * conv.in.n_out());
  if (pass != Pass::gradients) return kept;
  kept.xa_in = arena.take<float>(xa_size(conv.in, n_tokens));
  kept.xa_out = arena.take<float>(xa_size(conv.out, n_tokens));
  return kept;
}

void body_forward(float* y, bool add, const BodyInput& in, const ShortConv& conv, const ShortConvKept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn) {
  const int64_t n_tokens = tokens.n_tokens, n = conv.n_channels();
  {
    const ArenaScope scope(nn.arena);
    const LinearOutput bcu = {&conv.in, kept.bcu, false, kept.xa_in};
    linear_forward({&bcu, 1}, in.normed(nn), n_tokens, nn);
  }
  if (!y && !kept.xa_out) return;
  const ArenaScope scope(nn.arena);
  float* p = nn.arena.take<float>(n_tokens * n);
  float* z = nn.arena.take<float>(n_tokens * n);
  gated_input(p, kept.bcu, n_tokens, n, nn.pool);
  {
    const ProfileScope part(nn.profile, Part::scans);
    if (past) {
      causal_conv_next(z, n, past->state, p, n, n_tokens, conv.form(), nn.pool);
    } else {
      causal_conv_forward(z, n, p, n, tokens.segments, conv.form(), nn.pool);
    }
  }
  gate_output(p, kept.bcu, z, n_tokens, n, nn.pool);
  const LinearOutput out = {&conv.out, y, add, kept.xa_out};
  linear_forward({&out, 1}, p, n_tokens, nn);
}

void body_backward(float* dx, const float* dy, const BodyInput& in, const ShortConv& conv,
                   const ShortConvKept& kept, const Tokens& tokens, NnContext& nn) {
  const int64_t n_tokens = tokens.n_tokens, n = conv.n_channels();
  {
    const ArenaScope scope(nn.arena);
    float* p = nn.arena.take<float>(n_tokens * n);
    float* z = nn.arena.take<float>(n_tokens * n);
    gated_input(p, kept.bcu, n_tokens, n, nn.pool);
    {
      const ProfileScope part(nn.profile, Part::scans);
      causal_conv_forward(z, n, p, n, tokens.segments, conv.form(), nn.pool);
    }
    gate_output(p, kept.bcu, z, n_tokens, n, nn.pool);
    const LinearGradient out = {&conv.out, dy, kept.xa_out};
    linear_backward(p, {&out, 1}, p, n_tokens, nn);  // its gradient takes its place
    // c becomes its gradient, and p that of conv's output.
    nn.pool.for_range(n_tokens, grain(n), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        float *c = kept.bcu + (3 * t + 1) * n, *dp = p + t * n;
        const float* z_t = z + t * n;
        for (int64_t i = 0; i < n; ++i) {
          const float d = dp[i];
          dp[i] = d * c[i];
          c[i] = d * z_t[i];
        }
      }
    });
    {
      const ProfileScope part(nn.profile, Part::scans);
      causal_conv_backward(z, n, p, n, nullptr, n, tokens.segments, conv.form(), nn.pool);
    }
    nn.pool.for_range(n_tokens, grain(n), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        float *b = kept.bcu + 3 * t * n, *u = b + 2 * n;
        const float* d = z + t * n;
        for (int64_t i = 0; i < n; ++i) {
          const float b_i = b[i];
          b[i] = d[i] * u[i];
          u[i] = d[i] * b_i;
        }
      }
    });
  }
  const ArenaScope scope(nn.arena);
  const float* normed = in.normed(nn);
  float* dnormed = in.wants_gradient(dx) ? in.gradient_place(normed, nn) : nullptr;
  const LinearGradient bcu = {&conv.in, kept.bcu, kept.xa_in};
  linear_backward(dnormed, {&bcu, 1}, normed, n_tokens, nn);
  if (dnormed) in.add_gradient(dx, dnormed, nn);
}

}  // namespace lora
