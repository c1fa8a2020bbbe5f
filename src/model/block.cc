#include "model/block.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/activation/swiglu.h"

namespace lora {
namespace {

enum { kQ, kK, kV, kO, kGate, kUp, kDown };  // places in linear_rows() and in xa

AttentionShape attention_shape(const ModelConfig& c) {
  return {c.n_head, c.n_head_kv, c.head_dim, float(1 / std::sqrt(double(c.head_dim)))};
}

void copy(float* out, const float* in, int64_t n, ThreadPool& pool) {
  pool.for_range(n, 1 << 14, [&](int64_t begin, int64_t end) {
    std::memcpy(out + begin, in + begin, size_t(end - begin) * sizeof(float));
  });
}

// The arrays of one layer's activations, for taking and for counting.
template <class Take>
void for_each_activation(BlockActivations& a, const ModelConfig& c, const Layer& layer, int64_t n_tokens,
                         const Take& take) {
  take(a.q, n_tokens * c.n_embd_q());
  take(a.k, n_tokens * c.n_embd_kv());
  take(a.v, n_tokens * c.n_embd_kv());
  take(a.attn, n_tokens * c.n_embd_q());
  take(a.lse, n_tokens * c.n_head);
  take(a.h, n_tokens * c.n_embd);
  take(a.gate, n_tokens * c.n_ff);
  take(a.up, n_tokens * c.n_ff);
  const auto rows = linear_rows();
  for (size_t i = 0; i < rows.size(); ++i) take(a.xa[i], xa_size(layer.*rows[i].member, n_tokens));
}

int64_t longest(std::span<const AttentionSegment> segments) {
  int64_t n_kv = 0;
  for (const AttentionSegment& s : segments) n_kv = std::max(n_kv, s.n_kv);
  return n_kv;
}

// What the backward pass takes after the MLP's part: the memory of gate and up, which lie one behind the
// other, where they are large enough.
struct AttentionGradients {
  float *dk, *dv, *dattn;
  static int64_t size(const ModelConfig& c) { return 2 * c.n_embd_kv() + c.n_embd_q(); }
  static bool fit_gate_and_up(const ModelConfig& c) { return size(c) <= 2 * c.n_ff; }

  AttentionGradients(const BlockActivations& a, const ModelConfig& c, int64_t n_tokens, Arena& arena)
      : dk(fit_gate_and_up(c) ? a.gate : arena.take<float>(n_tokens * size(c))),
        dv(dk + n_tokens * c.n_embd_kv()),
        dattn(dv + n_tokens * c.n_embd_kv()) {}
};

std::span<std::byte> attention_scratch(const ModelConfig& c, std::span<const AttentionSegment> segments,
                                       bool backward, NnContext& nn) {
  const int64_t bytes =
      attention_scratch_bytes(attention_shape(c), longest(segments), backward, nn.input, nn.pool.size());
  return {nn.arena.take<std::byte>(bytes), size_t(bytes)};
}

}  // namespace

BlockActivations take_block_activations(Arena& arena, const Model& model, const Layer& layer,
                                        int64_t n_tokens) {
  BlockActivations result;
  for_each_activation(result, model.config, layer, n_tokens,
                      [&](float*& p, int64_t n) { p = arena.take<float>(n); });
  return result;
}

int64_t block_activation_bytes(const Model& model, const Layer& layer, int64_t n_tokens) {
  BlockActivations unused;
  int64_t bytes = 0;
  for_each_activation(unused, model.config, layer, n_tokens,
                      [&](float*&, int64_t n) { bytes += Arena::size_of<float>(n); });
  return bytes;
}

void block_forward(float* y, const float* x, const Model& model, const Layer& layer,
                   const BlockActivations& a, const BlockTokens& tokens, const KvRows* cache, NnContext& nn) {
  const ModelConfig& c = model.config;
  const int64_t n = tokens.n_tokens;
  float* k = cache ? cache->k + cache->n_past * c.n_embd_kv() : a.k;
  float* v = cache ? cache->v + cache->n_past * c.n_embd_kv() : a.v;
  {
    const ArenaScope scope(nn.arena);
    float* norm = nn.arena.take<float>(n * c.n_embd);
    norm_forward(norm, x, layer.attn_norm, c.rms_norm_eps, n, nn.pool);
    const LinearOutput qkv[] = {
        {&layer.q, a.q, false, a.xa[kQ]}, {&layer.k, k, false, a.xa[kK]}, {&layer.v, v, false, a.xa[kV]}};
    linear_forward(qkv, norm, n, nn);
  }
  const RopeStyle style = c.architecture->rope_style;
  rope_apply(a.q, tokens.positions, n, c.n_head, c.head_dim, tokens.rope, style, false, nn.pool);
  rope_apply(k, tokens.positions, n, c.n_head_kv, c.head_dim, tokens.rope, style, false, nn.pool);
  {
    const ArenaScope scope(nn.arena);
    const ProfileScope part(nn.profile, Part::attention);
    attention_forward(a.attn, cache ? nullptr : a.lse, a.q, cache ? cache->k : k, cache ? cache->v : v,
                      tokens.segments, attention_shape(c), nn.input,
                      attention_scratch(c, tokens.segments, false, nn), nn.pool);
  }
  copy(a.h, x, n * c.n_embd, nn.pool);
  const LinearOutput o = {&layer.o, a.h, true, a.xa[kO]};
  linear_forward({&o, 1}, a.attn, n, nn);
  {
    const ArenaScope scope(nn.arena);
    float* norm = nn.arena.take<float>(n * c.n_embd);
    norm_forward(norm, a.h, layer.ffn_norm, c.rms_norm_eps, n, nn.pool);
    const LinearOutput gate_up[] = {{&layer.gate, a.gate, false, a.xa[kGate]},
                                    {&layer.up, a.up, false, a.xa[kUp]}};
    linear_forward(gate_up, norm, n, nn);
  }
  const ArenaScope scope(nn.arena);
  float* product = nn.arena.take<float>(n * c.n_ff);
  swiglu_forward(product, a.gate, a.up, n * c.n_ff, nn.pool);
  if (y) copy(y, a.h, n * c.n_embd, nn.pool);
  const LinearOutput down = {&layer.down, y, true, a.xa[kDown]};
  linear_forward({&down, 1}, product, n, nn);
}

void block_backward(float* dx, const float* x, const Model& model, const Layer& layer,
                    const BlockActivations& a, const BlockTokens& tokens, bool needs_dx, NnContext& nn) {
  const ModelConfig& c = model.config;
  const int64_t n = tokens.n_tokens;
  {
    const ArenaScope scope(nn.arena);
    float* product = nn.arena.take<float>(n * c.n_ff);
    swiglu_forward(product, a.gate, a.up, n * c.n_ff, nn.pool);
    const LinearGradient down = {&layer.down, dx, a.xa[kDown]};
    linear_backward(product, {&down, 1}, product, n, nn);  // its gradient takes its place, as below
    swiglu_backward(a.gate, a.up, product, a.gate, a.up, n * c.n_ff, nn.pool);
  }
  {
    const ArenaScope scope(nn.arena);
    float* norm = nn.arena.take<float>(n * c.n_embd);
    norm_forward(norm, a.h, layer.ffn_norm, c.rms_norm_eps, n, nn.pool);
    const LinearGradient gate_up[] = {{&layer.gate, a.gate, a.xa[kGate]}, {&layer.up, a.up, a.xa[kUp]}};
    linear_backward(norm, gate_up, norm, n, nn);
    norm_backward(dx, norm, a.h, layer.ffn_norm, c.rms_norm_eps, n, true, nn.pool);
  }
  // dx is now the gradient of h.
  const ArenaScope scope(nn.arena);
  const AttentionGradients g(a, c, n, nn.arena);
  float* dq = a.attn;
  const LinearGradient o = {&layer.o, dx, a.xa[kO]};
  linear_backward(g.dattn, {&o, 1}, a.attn, n, nn);
  {
    const ArenaScope inner(nn.arena);
    const ProfileScope part(nn.profile, Part::attention);
    attention_backward(dq, g.dk, g.dv, g.dattn, a.attn, a.lse, a.q, a.k, a.v, tokens.segments,
                       attention_shape(c), nn.input, attention_scratch(c, tokens.segments, true, nn),
                       nn.pool);
  }
  const RopeStyle style = c.architecture->rope_style;
  rope_apply(dq, tokens.positions, n, c.n_head, c.head_dim, tokens.rope, style, true, nn.pool);
  rope_apply(g.dk, tokens.positions, n, c.n_head_kv, c.head_dim, tokens.rope, style, true, nn.pool);
  float* norm = nn.arena.take<float>(n * c.n_embd);
  norm_forward(norm, x, layer.attn_norm, c.rms_norm_eps, n, nn.pool);
  const LinearGradient qkv[] = {
      {&layer.q, dq, a.xa[kQ]}, {&layer.k, g.dk, a.xa[kK]}, {&layer.v, g.dv, a.xa[kV]}};
  linear_backward(needs_dx || layer.attn_norm.gradient ? norm : nullptr, qkv, norm, n, nn);
  norm_backward(needs_dx ? dx : nullptr, norm, x, layer.attn_norm, c.rms_norm_eps, n, true, nn.pool);
}

int64_t block_workspace_bytes(const Model& model, const Layer& layer, int64_t n_tokens, int64_t n_kv,
                              bool backward, GemmInput input, int n_threads) {
  const ModelConfig& c = model.config;
  const auto floats = [&](int64_t per_token) { return Arena::size_of<float>(n_tokens * per_token); };
  const auto linear = [&](std::initializer_list<const Linear*> layers) {
    return linear_workspace_bytes({layers.begin(), layers.size()}, n_tokens, input);
  };
  const int64_t gradients =
      backward && !AttentionGradients::fit_gate_and_up(c) ? floats(AttentionGradients::size(c)) : 0;
  const int64_t attention = Arena::size_of<std::byte>(
      attention_scratch_bytes(attention_shape(c), n_kv, backward, input, n_threads));
  // In the order of the backward pass, which takes what the forward pass does, and more.
  return std::max({floats(c.n_ff) + linear({&layer.down}),
                   floats(c.n_embd) + linear({&layer.gate, &layer.up}),
                   gradients + std::max({linear({&layer.o}), attention,
                                         floats(c.n_embd) + linear({&layer.q, &layer.k, &layer.v})})});
}

}  // namespace lora
