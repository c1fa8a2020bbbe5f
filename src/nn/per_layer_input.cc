#include "nn/per_layer_input.h"

#include <cmath>
#include <vector>

#include "kernels/decode/decode.h"
#include "nn/elementwise.h"

namespace lora {
namespace {

const float kHalfPower = std::sqrt(0.5f);

// Wmodel x0 / sqrt(n_embd). It is nobody's to train or to quantize.
void project(float* u, const PerLayerInput& input, const Tokens& tokens, NnContext& nn) {
  NnContext unseen = nn;
  unseen.observe = {};
  const LinearOutput out = {&input.model, u};
  linear_forward({&out, 1}, tokens.embedded, tokens.n_tokens, unseen);
  const float factor = 1 / std::sqrt(float(input.model.n_in()));
  multiply(u, u, factor, tokens.n_tokens * input.model.n_out(), nn.pool);
}

// p, in place of the norm's output: blocks of the table are decoded whole, of which a layer may have a part.
void look_up(float* p, const PerLayerInput& input, const Tokens& tokens, NnContext& nn) {
  const int64_t n_ple = input.gate.n_out(), block = traits(input.table.type).block_size;
  const int64_t begin = input.column / block * block;
  const int64_t end = (input.column + n_ple + block - 1) / block * block;
  const float factor = std::sqrt(float(n_ple));
  nn.pool.for_range(tokens.n_tokens, 16, [&](int64_t first, int64_t last) {
    const RowDecoder decode(input.table);
    std::vector<float> columns(static_cast<size_t>(end - begin));
    for (int64_t t = first; t < last; ++t) {
      decode(columns.data(), tokens.ids[t], begin, end);
      const float* e = columns.data() + (input.column - begin);
      float* row = p + t * n_ple;
      for (int64_t i = 0; i < n_ple; ++i) row[i] = kHalfPower * (row[i] + factor * e[i]);
    }
  });
}

}  // namespace

PerLayerInputKept take_kept(Arena& arena, const PerLayerInput& input, int64_t n_tokens, Pass pass) {
  PerLayerInputKept kept;
  kept.gate = arena.take<float>(n_tokens * input.gate.n_out());
  kept.p = arena.take<float>(n_tokens * input.gate.n_out());
  if (pass != Pass::gradients) return kept;
  kept.xa_gate = arena.take<float>(xa_size(input.gate, n_tokens));
  kept.xa_proj = arena.take<float>(xa_size(input.proj, n_tokens));
  return kept;
}

void body_forward(float* y, bool add, const BodyInput& in, const PerLayerInput& input,
                  const PerLayerInputKept& kept, const Tokens& tokens, const Past*, NnContext& nn) {
  const int64_t n = tokens.n_tokens, size = n * input.gate.n_out();
  {
    const ArenaScope scope(nn.arena);
    const LinearOutput gate = {&input.gate, kept.gate, false, kept.xa_gate};
    linear_forward({&gate, 1}, in.normed(nn), n, nn);
  }
  project(kept.p, input, tokens, nn);
  norm_forward(kept.p, kept.p, input.norm, n, nn.pool);
  look_up(kept.p, input, tokens, nn);
  const ArenaScope scope(nn.arena);
  float* product = nn.arena.take<float>(size);
  gated_forward(product, kept.gate, kept.p, size, input.activation, nn.pool);
  const LinearOutput proj = {&input.proj, y, add, kept.xa_proj};
  linear_forward({&proj, 1}, product, n, nn);
}

void body_backward(float* dx, const float* dy, const BodyInput& in, const PerLayerInput& input,
                   const PerLayerInputKept& kept, const Tokens& tokens, NnContext& nn) {
  const int64_t n = tokens.n_tokens, size = n * input.gate.n_out();
  {
    const ArenaScope scope(nn.arena);
    float* product = nn.arena.take<float>(size);
    gated_forward(product, kept.gate, kept.p, size, input.activation, nn.pool);
    const LinearGradient proj = {&input.proj, dy, kept.xa_proj};
    linear_backward(product, {&proj, 1}, product, n, nn);
    gated_backward(kept.gate, kept.p, product, kept.gate, kept.p, size, input.activation, nn.pool);
  }
  if (tokens.dembedded) {
    const ArenaScope scope(nn.arena);
    float* u = nn.arena.take<float>(size);
    float* du = nn.arena.take<float>(size);
    float* dx0 = nn.arena.take<float>(n * input.model.n_in());
    project(u, input, tokens, nn);
    norm_backward(du, kept.p, u, input.norm, n, false, nn.pool);
    const LinearGradient model = {&input.model, du, nullptr};
    linear_backward(dx0, {&model, 1}, tokens.embedded, n, nn);
    add(tokens.dembedded, dx0, kHalfPower / std::sqrt(float(input.model.n_in())), n * input.model.n_in(),
        nn.pool);
  }
  const ArenaScope scope(nn.arena);
  const float* normed = in.normed(nn);
  float* dnormed = in.wants_gradient(dx) ? in.gradient_place(normed, nn) : nullptr;
  const LinearGradient gate = {&input.gate, kept.gate, kept.xa_gate};
  linear_backward(dnormed, {&gate, 1}, normed, n, nn);
  if (dnormed) in.add_gradient(dx, dnormed, nn);
}

}  // namespace lora
