#include "nn/mlp.h"

namespace lora {
namespace {

// Without the gate, or the array, that there is none of.
template <class Item>
std::span<const Item> with_gate(const Mlp& mlp, const Item (&gate_up)[2]) {
  return std::span(gate_up).subspan(mlp.has_gate() ? 0 : 1);
}

void activate(float* y, const Mlp& mlp, const MlpKept& kept, int64_t n, ThreadPool& pool) {
  if (mlp.has_gate()) return gated_forward(y, kept.gate, kept.up, n, mlp.activation, pool);
  activation_forward(y, kept.up, n, mlp.activation, pool);
}

// gate and up become their gradients.
void deactivate(const Mlp& mlp, const MlpKept& kept, const float* dy, int64_t n, ThreadPool& pool) {
  if (mlp.has_gate())
    return gated_backward(kept.gate, kept.up, dy, kept.gate, kept.up, n, mlp.activation, pool);
  activation_backward(kept.up, dy, kept.up, n, mlp.activation, pool);
}

}  // namespace

MlpKept take_kept(Arena& arena, const Mlp& mlp, int64_t n_tokens, Pass pass) {
  const int64_t n = n_tokens * mlp.up.n_out();
  MlpKept kept;
  if (mlp.has_gate()) kept.gate = arena.take<float>(n);
  kept.up = arena.take<float>(n);
  if (pass != Pass::gradients) return kept;
  if (mlp.has_gate()) kept.xa_gate = arena.take<float>(xa_size(mlp.gate, n_tokens));
  kept.xa_up = arena.take<float>(xa_size(mlp.up, n_tokens));
  kept.xa_down = arena.take<float>(xa_size(mlp.down, n_tokens));
  return kept;
}

void body_forward(float* y, bool add, const BodyInput& in, const Mlp& mlp, const MlpKept& kept,
                  const Tokens& tokens, const Past*, NnContext& nn) {
  const int64_t n = tokens.n_tokens, size = n * mlp.up.n_out();
  {
    const ArenaScope scope(nn.arena);
    const LinearOutput gate_up[] = {{&mlp.gate, kept.gate, false, kept.xa_gate},
                                    {&mlp.up, kept.up, false, kept.xa_up}};
    linear_forward(with_gate(mlp, gate_up), in.normed(nn), n, nn);
  }
  const ArenaScope scope(nn.arena);
  float* product = nn.arena.take<float>(size);
  activate(product, mlp, kept, size, nn.pool);
  const LinearOutput down = {&mlp.down, y, add, kept.xa_down};
  linear_forward({&down, 1}, product, n, nn);
}

void body_backward(float* dx, const float* dy, const BodyInput& in, const Mlp& mlp, const MlpKept& kept,
                   const Tokens& tokens, NnContext& nn) {
  const int64_t n = tokens.n_tokens, size = n * mlp.up.n_out();
  {
    const ArenaScope scope(nn.arena);
    float* product = nn.arena.take<float>(size);
    activate(product, mlp, kept, size, nn.pool);
    const LinearGradient down = {&mlp.down, dy, kept.xa_down};
    linear_backward(product, {&down, 1}, product, n, nn);  // its gradient takes its place, as below
    deactivate(mlp, kept, product, size, nn.pool);
  }
  const ArenaScope scope(nn.arena);
  const float* normed = in.normed(nn);
  float* dnormed = in.wants_gradient(dx) ? in.gradient_place(normed, nn) : nullptr;
  const LinearGradient gate_up[] = {{&mlp.gate, kept.gate, kept.xa_gate}, {&mlp.up, kept.up, kept.xa_up}};
  linear_backward(dnormed, with_gate(mlp, gate_up), normed, n, nn);
  if (dnormed) in.add_gradient(dx, dnormed, nn);
}

}  // namespace lora
