// The body of a branch that keeps a state of the tokens before, of Mamba-2 (Dao & Gu, "Transformers are
// SSMs", 2024), forward and backward:
//
//   [z, u, dt] = Win n             [x, B, C] = silu(conv(u) + bias)     (kernels/conv)
//   s = scan(x, B, C, dt)          (kernels/ssd)
//   y = Wout norm(s * silu(z))     the norm over each group of columns, or none
//
// z, u and dt are rows of one tensor, three linear layers here.
#pragma once

#include <concepts>
#include <type_traits>

#include "kernels/conv/conv.h"
#include "kernels/ssd/ssd.h"
#include "nn/body.h"
#include "nn/linear.h"

namespace lora {

struct Mamba2 {
  Linear z, u, dt, out;
  ConvForm conv;  // of u
  SsdShape shape;
  SsdHeads heads;
  const float* gain = nullptr;  // of the norm, (n_inner); none: there is no norm
  float norm_eps = 1e-5f;

  int64_t n_inner() const { return shape.n_head * shape.head_dim; }
  int64_t n_conv() const { return n_inner() + 2 * shape.n_group * shape.n_state; }
};

// What the backward pass needs; z and s are overwritten by it.
struct Mamba2Kept {
  float* z = nullptr;   // (n_tokens, n_inner)
  float* u = nullptr;   // (n_tokens, n_conv), before the convolution
  float* dt = nullptr;  // (n_tokens, n_head), before bias and softplus
  float* s = nullptr;   // (n_tokens, n_inner)
  float* xa_z = nullptr;
  float* xa_u = nullptr;
  float* xa_dt = nullptr;
  float* xa_out = nullptr;
};

// Of each channel its last inputs, then of each head its state.
inline PastShape past_shape(const Mamba2& m) {
  return {.n_state = (m.conv.d_conv - 1) * m.n_conv() + m.n_inner() * m.shape.n_state};
}

Mamba2Kept take_kept(Arena& arena, const Mamba2& mamba, int64_t n_tokens, Pass pass);

// As in nn/mlp.h. Convolution and state begin anew at each segment.
void body_forward(float* y, bool add, const BodyInput& in, const Mamba2& mamba, const Mamba2Kept& kept,
                  const Tokens& tokens, const Past* past, NnContext& nn);
void body_backward(float* dx, const float* dy, const BodyInput& in, const Mamba2& mamba,
                   const Mamba2Kept& kept, const Tokens& tokens, NnContext& nn);

template <class M, class Visit>
requires std::same_as<std::remove_const_t<M>, Mamba2>
void for_each_linear(M& mamba, const Visit& visit) {
  visit(mamba.z, LinearRole::reads_input);
  visit(mamba.u, LinearRole::reads_input);
  visit(mamba.dt, LinearRole::reads_input);
  visit(mamba.out, LinearRole::writes_output);
}

}  // namespace lora
