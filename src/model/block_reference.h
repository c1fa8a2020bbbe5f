// The forward pass of block.h as plain loops over decoded weights: what the backward pass is differentiated
// against, in double.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/activation/swiglu_reference.h"
#include "kernels/attention/attention_reference.h"
#include "kernels/gemm/gemm_reference.h"
#include "kernels/rmsnorm/rmsnorm_reference.h"
#include "kernels/rope/rope_reference.h"
#include "arch/config.h"

namespace lora {

template <class T>
struct BlockReference {
  struct Linear {
    int64_t n_out, n_in, rank;
    std::vector<T> w, bias;  // (n_out, n_in), (n_out) or none
    std::vector<T> a, b;     // (rank, n_in), (n_out, rank)
    T scale;
    std::vector<T> mask;  // (n_tokens, n_in): what the adapter's input is multiplied with; or none
  };

  ModelConfig config;
  std::vector<T> attn_norm, ffn_norm;  // (n_embd)
  Linear linear[7];                    // in the order of linear_rows()
  std::vector<int32_t> positions;
  std::vector<AttentionSegment> segments;
  std::vector<T> cos, sin;  // (n_positions, n_rot / 2)

  int64_t n_tokens() const { return int64_t(positions.size()); }

  std::vector<T> apply(const Linear& l, const std::vector<T>& x) const {
    const int64_t n = n_tokens();
    std::vector<T> y(size_t(n * l.n_out)), xa(size_t(n * l.rank)), dropped = x;
    for (size_t i = 0; i < l.mask.size(); ++i) dropped[i] *= l.mask[i];
    gemm_forward_reference(y.data(), x.data(), l.w.data(), n, l.n_out, l.n_in);
    gemm_forward_reference(xa.data(), dropped.data(), l.a.data(), n, l.rank, l.n_in);
    for (T& value : xa) value *= l.scale;
    gemm_forward_reference(y.data(), xa.data(), l.b.data(), n, l.n_out, l.rank);
    for (size_t i = 0; i < y.size() && !l.bias.empty(); ++i) y[i] += l.bias[i % size_t(l.n_out)];
    return y;
  }

  std::vector<T> normed(const std::vector<T>& x, const std::vector<T>& gain) const {
    std::vector<T> y(x.size());
    rms_norm_forward_reference(y.data(), x.data(), gain.data(), T(config.rms_norm_eps), n_tokens(),
                               config.n_embd);
    return y;
  }

  void turn(std::vector<T>& x, int64_t n_head) const {
    rope_apply_reference(x.data(), positions.data(), n_tokens(), n_head, config.head_dim, cos.data(),
                         sin.data(), config.rope.n_rot, config.architecture->rope_style, false);
  }

  // x, y: (n_tokens, n_embd).
  std::vector<T> forward(const std::vector<T>& x) const {
    const auto& [lq, lk, lv, lo, lgate, lup, ldown] = linear;
    const std::vector<T> n = normed(x, attn_norm);
    std::vector<T> q = apply(lq, n), k = apply(lk, n), attn(q.size());
    const std::vector<T> v = apply(lv, n);
    turn(q, config.n_head);
    turn(k, config.n_head_kv);
    const AttentionShape shape{config.n_head, config.n_head_kv, config.head_dim,
                               float(1 / std::sqrt(double(config.head_dim)))};
    for (const AttentionSegment& segment : segments) {
      for (int64_t head = 0; head < config.n_head; ++head) {
        for (int64_t i = 0; i < segment.n_q; ++i) {
          attention_forward_reference<T>(attn.data(), nullptr, q.data(), k.data(), v.data(), segment, shape,
                                         head, i);
        }
      }
    }
    std::vector<T> h = apply(lo, attn);
    for (size_t i = 0; i < h.size(); ++i) h[i] += x[i];
    const std::vector<T> m = normed(h, ffn_norm), gate = apply(lgate, m), up = apply(lup, m);
    std::vector<T> product(gate.size());
    swiglu_forward_reference(product.data(), gate.data(), up.data(), int64_t(gate.size()));
    std::vector<T> y = apply(ldown, product);
    for (size_t i = 0; i < y.size(); ++i) y[i] += h[i];
    return y;
  }
};

}  // namespace lora
