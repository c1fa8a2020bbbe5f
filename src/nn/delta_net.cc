#include "nn/delta_net.h"

#include "base/elementary.h"
#include "kernels/activation/activation.h"
#include "kernels/conv/conv.h"

namespace lora {
namespace {

ConvForm conv_form(const DeltaNet& d) {
  return {.w = d.conv, .bias = nullptr, .n_channels = d.form.n_qkv(), .d_conv = d.form.d_conv, .silu = true};
}

std::span<std::byte> delta_scratch(const DeltaRuleShape& shape, bool backward, NnContext& nn) {
  const int64_t bytes = delta_rule_scratch_bytes(shape, backward, nn.pool.size());
  return {nn.arena.take<std::byte>(bytes), size_t(bytes)};
}

float sigmoid(float x) {
  return 1 / (1 + elementary::exp(-x));
}

// Where the numbers of a token's value head are that become beta and g.
struct GatePlaces {
  const DeltaNet& d;
  const DeltaNetKept& kept;
  float& beta(int64_t t, int64_t h) const {
    return d.has_alpha() ? kept.beta[t * n() + h] : kept.beta[2 * t * n() + beside(h)];
  }
  float& alpha(int64_t t, int64_t h) const {
    return d.has_alpha() ? kept.alpha[t * n() + h] : kept.beta[2 * t * n() + beside(h) + group()];
  }
  int64_t n() const { return d.form.shape.n_head_v; }
  int64_t group() const { return d.form.shape.group(); }
  int64_t beside(int64_t h) const { return h / group() * 2 * group() + h % group(); }
};

// g and beta, both (n_tokens, n_head_v).
struct Gates {
  float *g, *beta;
};

template <class Each>
void for_each_gate(int64_t n_tokens, const DeltaNet& d, NnContext& nn, const Each& each) {
  const int64_t n = d.form.shape.n_head_v;
  nn.pool.for_range(n_tokens, 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < n; ++h) each(t, h, t * n + h);
    }
  });
}

Gates gates(const DeltaNet& d, const DeltaNetKept& kept, int64_t n_tokens, NnContext& nn) {
  const int64_t size = n_tokens * d.form.n_gates();
  const Gates to{nn.arena.take<float>(size), nn.arena.take<float>(size)};
  const GatePlaces from{d, kept};
  for_each_gate(n_tokens, d, nn, [&](int64_t t, int64_t h, int64_t at) {
    const float x = from.alpha(t, h) + d.dt_bias[h];
    to.g[at] = d.a[h] * (x > 20 ? x : elementary::log1p(elementary::exp(x)));
    to.beta[at] = sigmoid(from.beta(t, h));
  });
  return to;
}

// From dg and dbeta to the gradients of what Wbeta and Walpha gave, in their place.
void gates_backward(const DeltaNet& d, const DeltaNetKept& kept, const Gates& gradients, int64_t n_tokens,
                    NnContext& nn) {
  const GatePlaces place{d, kept};
  for_each_gate(n_tokens, d, nn, [&](int64_t t, int64_t h, int64_t at) {
    float &alpha = place.alpha(t, h), &beta = place.beta(t, h);
    alpha = gradients.g[at] * d.a[h] * sigmoid(alpha + d.dt_bias[h]);
    const float s = sigmoid(beta);
    beta = gradients.beta[at] * s * (1 - s);
  });
}

DeltaRuleInput rule_input(const float* qkv, const Gates& gates, const DeltaNetForm& form) {
  const int64_t n_k = form.shape.n_head_k * form.shape.dim_k;
  return {qkv, qkv + n_k, qkv + 2 * n_k, form.n_qkv(), gates.g, gates.beta};
}

// norm(out) in `normed`, and times silu(z) in `gated`, which may be the same.
void gate(float* gated, float* normed, const DeltaNet& d, const DeltaNetKept& kept, int64_t n_tokens,
          NnContext& nn) {
  norm_forward(normed, kept.out, d.norm, n_tokens * d.form.shape.n_head_v, nn.pool);
  gated_forward(gated, kept.z, normed, n_tokens * d.form.n_v(), Activation::silu, nn.pool);
}

}  // namespace

DeltaNetKept take_kept(Arena& arena, const DeltaNet& d, int64_t n_tokens, Pass pass) {
  DeltaNetKept kept;
  const auto take = [&](int64_t per_token) { return arena.take<float>(n_tokens * per_token); };
  kept.qkv = take(d.form.n_qkv());
  kept.z = take(d.form.n_v());
  kept.beta = take(d.beta.n_out());
  if (d.has_alpha()) kept.alpha = take(d.alpha.n_out());
  kept.out = take(d.form.n_v());
  if (pass != Pass::gradients) return kept;
  kept.states = arena.take<float>(delta_rule_kept_size(d.form.shape, n_tokens));
  kept.xa_qkv = arena.take<float>(xa_size(d.qkv, n_tokens));
  kept.xa_z = arena.take<float>(xa_size(d.z, n_tokens));
  kept.xa_beta = arena.take<float>(xa_size(d.beta, n_tokens));
  if (d.has_alpha()) kept.xa_alpha = arena.take<float>(xa_size(d.alpha, n_tokens));
  kept.xa_o = arena.take<float>(xa_size(d.o, n_tokens));
  return kept;
}

void body_forward(float* y, bool add, const BodyInput& in, const DeltaNet& d, const DeltaNetKept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn) {
  const int64_t n = tokens.n_tokens, n_qkv = d.form.n_qkv();
  {
    const ArenaScope scope(nn.arena);
    const LinearOutput outputs[] = {{&d.qkv, kept.qkv, false, kept.xa_qkv},
                                    {&d.z, kept.z, false, kept.xa_z},
                                    {&d.beta, kept.beta, false, kept.xa_beta},
                                    {&d.alpha, kept.alpha, false, kept.xa_alpha}};
    linear_forward(std::span(outputs).first(d.has_alpha() ? 4 : 3), in.normed(nn), n, nn);
  }
  {
    const ArenaScope scope(nn.arena);
    const ProfileScope part(nn.profile, Part::scans);
    float* qkv = nn.arena.take<float>(n * n_qkv);
    const Gates g = gates(d, kept, n, nn);
    const DeltaRuleInput input = rule_input(qkv, g, d.form);
    const auto memory = delta_scratch(d.form.shape, false, nn);
    if (past) {
      causal_conv_next(qkv, n_qkv, past->state, kept.qkv, n_qkv, n, conv_form(d), nn.pool);
      float* states = past->state ? past->state + (d.form.d_conv - 1) * n_qkv : nullptr;
      delta_rule_append(kept.out, states, input, n, d.form.shape, memory, nn.pool);
    } else {
      causal_conv_forward(qkv, n_qkv, kept.qkv, n_qkv, tokens.segments, conv_form(d), nn.pool);
      delta_rule_forward(kept.out, kept.states, input, tokens.segments, d.form.shape, memory, nn.pool);
    }
  }
  const ArenaScope scope(nn.arena);
  float* gated = nn.arena.take<float>(n * d.form.n_v());
  gate(gated, gated, d, kept, n, nn);
  const LinearOutput o = {&d.o, y, add, kept.xa_o};
  linear_forward({&o, 1}, gated, n, nn);
}

void body_backward(float* dx, const float* dy, const BodyInput& in, const DeltaNet& d,
                   const DeltaNetKept& kept, const Tokens& tokens, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const int64_t n = tokens.n_tokens, n_qkv = d.form.n_qkv(), n_k = d.form.shape.n_head_k * d.form.shape.dim_k;
  float* dqkv = nn.arena.take<float>(n * n_qkv);
  {
    const ArenaScope inner(nn.arena);
    float* dout = nn.arena.take<float>(n * d.form.n_v());
    {
      const ArenaScope of_norm(nn.arena);
      float* normed = nn.arena.take<float>(n * d.form.n_v());
      gate(dout, normed, d, kept, n, nn);
      const LinearGradient o = {&d.o, dy, kept.xa_o};
      linear_backward(dout, {&o, 1}, dout, n, nn);  // its gradient takes its place, as below
      gated_backward(kept.z, normed, dout, kept.z, normed, n * d.form.n_v(), Activation::silu, nn.pool);
      norm_backward(dout, normed, kept.out, d.norm, n * d.form.shape.n_head_v, false, nn.pool);
    }
    const ProfileScope part(nn.profile, Part::scans);
    float* qkv = nn.arena.take<float>(n * n_qkv);
    const Gates g = gates(d, kept, n, nn);
    const Gates dg{nn.arena.take<float>(n * d.form.n_gates()), nn.arena.take<float>(n * d.form.n_gates())};
    causal_conv_forward(qkv, n_qkv, kept.qkv, n_qkv, tokens.segments, conv_form(d), nn.pool);
    delta_rule_backward({qkv, qkv + n_k, qkv + 2 * n_k, dg.g, dg.beta}, dout, kept.out, kept.states,
                        rule_input(qkv, g, d.form), tokens.segments, d.form.shape,
                        delta_scratch(d.form.shape, true, nn), nn.pool);
    gates_backward(d, kept, dg, n, nn);
    causal_conv_backward(dqkv, n_qkv, qkv, n_qkv, kept.qkv, n_qkv, tokens.segments, conv_form(d), nn.pool);
  }
  const float* normed = in.normed(nn);
  float* dnormed = in.wants_gradient(dx) ? in.gradient_place(normed, nn) : nullptr;
  const LinearGradient inputs[] = {{&d.qkv, dqkv, kept.xa_qkv},
                                   {&d.z, kept.z, kept.xa_z},
                                   {&d.beta, kept.beta, kept.xa_beta},
                                   {&d.alpha, kept.alpha, kept.xa_alpha}};
  linear_backward(dnormed, std::span(inputs).first(d.has_alpha() ? 4 : 3), normed, n, nn);
  if (dnormed) in.add_gradient(dx, dnormed, nn);
}

}  // namespace lora
