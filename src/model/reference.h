// A model's forward pass as plain loops over decoded weights, a walk over the same layers that the fast one
// walks over: what that one is compared with, and in double what backward passes are differentiated against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "base/elementary.h"
#include "kernels/activation/activation_reference.h"
#include "kernels/attention/attention_reference.h"
#include "kernels/conv/conv_reference.h"
#include "kernels/delta_rule/delta_rule_reference.h"
#include "kernels/gemm/gemm_reference.h"
#include "kernels/layernorm/layernorm_reference.h"
#include "kernels/rmsnorm/rmsnorm_reference.h"
#include "kernels/rope/rope_reference.h"
#include "kernels/ssd/ssd_reference.h"
#include "model/model.h"

namespace lora {

template <class T>
class ModelReference {
 public:
  using Values = std::vector<T>;

  // Adapters' numbers are read from `values` where the model's point into `place`, the array that holds them.
  ModelReference(const Model& model, std::span<const float> place, const Values& values,
                 std::span<const int32_t> positions, std::span<const AttentionSegment> segments)
      : model_(model), place_(place), values_(values), positions_(positions), segments_(segments) {
    int64_t n_positions = 0;
    for (const int32_t p : positions) n_positions = std::max<int64_t>(n_positions, p + 1);
    for (const RopeTable& table : make_rope_tables(model.config, n_positions)) {
      ropes_.push_back({table.n_rot,
                        {table.cos.span().begin(), table.cos.span().end()},
                        {table.sin.span().begin(), table.sin.span().end()}});
    }
  }

  // (n_tokens, n_vocab)
  Values logits(std::span<const int32_t> ids) const {
    Values x;
    for (size_t t = 0; t < ids.size(); ++t) {
      const int32_t id = ids[t];
      Values row = decoded(model_.embedding.table.rows(id, 1));
      for (const LoraView& lora : model_.embedding.loras) {
        for (int64_t k = 0; k < lora.rank; ++k) {
          const T low = T(lora.scale) * value(lora.a + k * model_.config.n_vocab + id);
          for (size_t e = 0; e < row.size(); ++e) row[e] += low * value(lora.b + int64_t(e) * lora.rank + k);
        }
      }
      const Buffer<float>& table = model_.embedding.positions;
      for (size_t e = 0; e < row.size(); ++e) {
        const int64_t at = positions_[t] * int64_t(row.size()) + int64_t(e);
        x.push_back(T(model_.embedding.factor) * row[e] + (table.size() > 0 ? T(table[at]) : T(0)));
      }
    }
    Pass pass{ids, x, {}, {}};
    for (const Layer& layer : model_.layers) {
      for (const Branch& branch : layer.branches) {
        Values sum(x.size());
        pass.stream = x;
        for (size_t k = 0; k < branch.bodies.size(); ++k) {
          const Values read = normed(x, branch.before_body(k));
          Values y = std::visit([&](const auto& b) { return forward(b, read, pass); }, branch.bodies[k]);
          if (const Norm* after = branch.after_body(k)) y = normed(y, *after);
          for (size_t i = 0; i < sum.size(); ++i) sum[i] += y[i];
        }
        sum = normed(sum, branch.after);
        for (size_t i = 0; i < x.size(); ++i)
          x[i] = T(branch.stream_scale) * (x[i] + T(branch.scale) * sum[i]);
      }
    }
    Values y = apply(model_.output, normed(x, model_.output_norm));
    const Head head = model_.head();
    for (T& logit : y) {
      logit *= T(head.scale);
      if (head.softcap > 0) logit = T(head.softcap) * elementary::tanh(logit / T(head.softcap));
    }
    return y;
  }

  // Sum of -ln p(target) over tokens with a target >= 0.
  T loss(std::span<const int32_t> ids, std::span<const int32_t> targets) const {
    const Values all = logits(ids);
    const int64_t n_vocab = model_.config.n_vocab;
    T sum = 0;
    for (size_t t = 0; t < targets.size(); ++t) {
      if (targets[t] < 0) continue;
      const T* row = &all[t * size_t(n_vocab)];
      const T most = *std::max_element(row, row + n_vocab);
      T weights = 0;
      for (int64_t v = 0; v < n_vocab; ++v) weights += elementary::exp(row[v] - most);
      sum += most + elementary::log(weights) - row[targets[t]];
    }
    return sum;
  }

 private:
  // What bodies see beside what they read.
  struct Pass {
    std::span<const int32_t> ids;
    Values embedded, stream;                        // of the embedding, and before the branch
    std::map<int, std::pair<Values, Values>> kept;  // keys and values that layers share
  };

  struct Rope {
    int64_t n_rot;
    Values cos, sin;
  };

  int64_t n_tokens() const { return int64_t(positions_.size()); }

  static Values decoded(const MatrixView& w) {
    std::vector<float> values(size_t(w.n_rows * w.n_cols));
    for (int64_t r = 0; r < w.n_rows; ++r) decode_row(&values[size_t(r * w.n_cols)], w, r, 0, w.n_cols);
    return {values.begin(), values.end()};
  }

  T value(const float* p) const {
    const auto at = p - place_.data();
    return at >= 0 && at < std::ptrdiff_t(place_.size()) ? values_[size_t(at)] : T(*p);
  }

  Values apply(const Linear& linear, const Values& x) const {
    const int64_t n = n_tokens(), n_in = linear.n_in(), n_out = linear.n_out();
    Values y(size_t(n * n_out));
    if (!linear.adapters_only)
      gemm_forward_reference(y.data(), x.data(), decoded(linear.w).data(), n, n_out, n_in);
    for (const LoraView& lora : linear.loras) {
      Values a, b, low(size_t(n * lora.rank));
      for (int64_t i = 0; i < lora.rank * n_in; ++i) a.push_back(value(lora.a + i));
      for (int64_t i = 0; i < n_out * lora.rank; ++i) b.push_back(value(lora.b + i) * T(lora.scale));
      gemm_forward_reference(low.data(), x.data(), a.data(), n, lora.rank, n_in);
      gemm_forward_reference(y.data(), low.data(), b.data(), n, n_out, lora.rank);
    }
    for (size_t i = 0; i < y.size() && linear.bias; ++i) y[i] += T(linear.bias[int64_t(i) % n_out]);
    return y;
  }

  Values normed(const Values& x, const Norm& norm) const {
    if (!norm) return x;
    const Values gain(norm.weight(), norm.weight() + norm.n());
    const Values bias(norm.bias.span().begin(), norm.bias.span().end());
    const int64_t n_rows = int64_t(x.size()) / norm.n();
    Values y(x.size());
    if (norm.kind == NormKind::layer) {
      layer_norm_forward_reference(y.data(), x.data(), gain.data(), bias.empty() ? nullptr : bias.data(),
                                   T(norm.eps), n_rows, norm.n());
    } else {
      rms_norm_forward_reference(y.data(), x.data(), gain.data(), T(norm.eps), n_rows, norm.n());
    }
    return y;
  }

  Values clamped(Values x, float most) const {
    for (T& v : x) {
      if (most > 0) v = std::clamp(v, T(-most), T(most));
    }
    return x;
  }

  Values turned(Values x, const Norm& norm, int64_t n_head, bool is_query, const AttentionForm& form) const {
    if (!form.norm_after_rope) x = normed(x, norm);
    if (form.rope >= 0) {
      const Rope& rope = ropes_[size_t(form.rope)];
      rope_apply_reference(x.data(), positions_.data(), n_tokens(), n_head, form.shape.head_dim,
                           rope.cos.data(), rope.sin.data(), rope.n_rot, form.rope_style, false);
    }
    if (form.norm_after_rope) x = normed(x, norm);
    const int64_t row = n_head * form.shape.head_dim;
    for (size_t i = 0; i < x.size() && is_query && form.temperature_scale != 0; ++i) {
      const int64_t periods = positions_[i / size_t(row)] / form.temperature_length;
      x[i] *= T(1 + double(form.temperature_scale) * elementary::log(double(periods + 1)));
    }
    return x;
  }

  Values forward(const Attention& a, const Values& x, Pass& pass) const {
    const AttentionShape& shape = a.form.shape;
    Values both = apply(a.q, x), gates;
    if (a.form.output_gate) split_gates(both, gates, shape.head_dim);
    const Values q = turned(clamped(both, a.form.clamp), a.q_norm, shape.n_head, true, a.form);
    Values k, v;
    if (a.has_k()) {
      const Values raw = clamped(apply(a.k, x), a.form.clamp);
      k = turned(raw, a.k_norm, shape.n_head_kv, false, a.form);
      v = normed(a.has_v() ? clamped(apply(a.v, x), a.form.clamp) : raw, a.v_norm);
      if (a.form.kv_slot >= 0) pass.kept[a.form.kv_slot] = {k, v};
    } else {
      std::tie(k, v) = pass.kept.at(a.form.kv_slot);
    }
    Values out(q.size());
    for (const AttentionSegment& segment : segments_) {
      for (int64_t head = 0; head < shape.n_head; ++head) {
        for (int64_t i = 0; i < segment.n_q; ++i) {
          attention_forward_reference<T>(out.data(), nullptr, q.data(), k.data(), v.data(), segment, shape,
                                         head, i);
        }
      }
    }
    for (size_t i = 0; i < gates.size(); ++i) out[i] /= 1 + elementary::exp(-gates[i]);
    return apply(a.o, out);
  }

  // Keys and values of every head, as training makes them.
  Values forward(const LatentAttention& a, const Values& x, const Pass&) const {
    const LatentForm& f = a.form;
    const auto n = size_t(n_tokens()), n_head = size_t(f.n_head), n_nope = size_t(f.n_nope);
    const auto n_rope = size_t(f.n_rope), v_dim = size_t(f.v_dim), kv_rank = size_t(f.kv_rank);
    const size_t key_dim = n_nope + n_rope, kv_dim = n_nope + v_dim;
    const Rope& rope = ropes_[size_t(f.rope)];
    Values q = apply(a.q, a.has_q_a() ? normed(apply(a.q_a, x), a.q_norm) : x);
    rope_apply_reference(q.data() + n_nope, positions_.data(), n_tokens(), f.n_head, f.key_dim(),
                         rope.cos.data(), rope.sin.data(), rope.n_rot, f.rope_style, false);
    const Values latent = apply(a.kv_a, x);
    Values c, k_pe;
    for (size_t t = 0; t < n; ++t) {
      const T* row = &latent[t * (kv_rank + n_rope)];
      c.insert(c.end(), row, row + kv_rank);
      k_pe.insert(k_pe.end(), row + kv_rank, row + kv_rank + n_rope);
    }
    c = normed(c, a.kv_norm);
    rope_apply_reference(k_pe.data(), positions_.data(), n_tokens(), 1, f.n_rope, rope.cos.data(),
                         rope.sin.data(), rope.n_rot, f.rope_style, false);
    Values kv = apply(a.kv_b, c);
    for (size_t h = 0; h < n_head && a.is_apart(); ++h) {
      const Values k_b = decoded(a.k_b.w.rows(int64_t(h) * f.kv_rank, f.kv_rank));
      const Values v_b = decoded(a.v_b.w.rows(int64_t(h) * f.v_dim, f.v_dim));
      for (size_t t = 0; t < n; ++t) {
        T* to = &kv[(t * n_head + h) * kv_dim];
        for (size_t j = 0; j < kv_rank; ++j) {
          const T of_c = c[t * kv_rank + j];
          for (size_t i = 0; i < n_nope; ++i) to[i] += k_b[j * n_nope + i] * of_c;
          for (size_t i = 0; i < v_dim; ++i) to[n_nope + i] += v_b[i * kv_rank + j] * of_c;
        }
      }
    }
    Values k(n * n_head * key_dim), v(n * n_head * v_dim), out(v.size());
    for (size_t i = 0; i < n * n_head; ++i) {
      std::copy_n(&kv[i * kv_dim], n_nope, &k[i * key_dim]);
      std::copy_n(&k_pe[i / n_head * n_rope], n_rope, &k[i * key_dim + n_nope]);
      std::copy_n(&kv[i * kv_dim + n_nope], v_dim, &v[i * v_dim]);
    }
    AttentionShape shape{f.n_head, f.n_head, f.key_dim(), f.scale};
    shape.value_dim = f.v_dim;
    for (const AttentionSegment& segment : segments_) {
      for (int64_t head = 0; head < f.n_head; ++head) {
        for (int64_t i = 0; i < segment.n_q; ++i) {
          attention_forward_reference<T>(out.data(), nullptr, q.data(), k.data(), v.data(), segment, shape,
                                         head, i);
        }
      }
    }
    return apply(a.o, out);
  }

  // Each head's gate, which lies behind its query.
  static void split_gates(Values& q, Values& gates, int64_t head_dim) {
    const Values both = std::move(q);
    q.clear();
    for (size_t i = 0; i < both.size(); ++i) (int64_t(i) / head_dim % 2 == 0 ? q : gates).push_back(both[i]);
  }

  Values forward(const DeltaNet& d, const Values& x, const Pass&) const {
    const DeltaNetForm& form = d.form;
    const DeltaRuleShape& s = form.shape;
    const int64_t n = n_tokens(), n_qkv = form.n_qkv(), n_k = s.n_head_k * s.dim_k, group = s.group();
    const Values before = apply(d.qkv, x), z = apply(d.z, x), taps(d.conv, d.conv + n_qkv * form.d_conv);
    const Values of_beta = apply(d.beta, x), of_alpha = d.has_alpha() ? apply(d.alpha, x) : Values();
    Values qkv(before.size()), g(size_t(n * s.n_head_v)), beta(g.size()), out(z.size());
    causal_conv_forward_reference<T>(qkv.data(), n_qkv, before.data(), n_qkv, segments_,
                                     {taps.data(), nullptr, n_qkv, form.d_conv, true});
    for (int64_t i = 0; i < int64_t(g.size()); ++i) {
      const int64_t h = i % s.n_head_v,
                    both = i / s.n_head_v * 2 * s.n_head_v + h / group * 2 * group + h % group;
      const T a = d.has_alpha() ? of_alpha[size_t(i)] : of_beta[size_t(both + group)];
      g[size_t(i)] = T(d.a[h]) * elementary::log1p(elementary::exp(a + T(d.dt_bias[h])));
      beta[size_t(i)] = 1 / (1 + elementary::exp(-of_beta[size_t(d.has_alpha() ? i : both)]));
    }
    const DeltaRuleRows<T> in{qkv.data(), qkv.data() + n_k, qkv.data() + 2 * n_k,
                              n_qkv,      g.data(),         beta.data()};
    for (const AttentionSegment& segment : segments_) {
      for (int64_t head = 0; head < s.n_head_k; ++head) {
        Values states(size_t(group * s.state_size()));
        delta_rule_forward_reference<T>(out.data(), states.data(), in, s, head, segment.q_begin, segment.n_q);
      }
    }
    out = normed(out, d.norm);
    for (size_t i = 0; i < out.size(); ++i) out[i] *= z[i] / (1 + elementary::exp(-z[i]));
    return apply(d.o, out);
  }

  Values forward(const Mlp& mlp, const Values& x, const Pass&) const {
    const Values up = apply(mlp.up, x), gate = mlp.has_gate() ? apply(mlp.gate, x) : Values();
    Values product(up.size());
    gated_forward_reference<T>(product.data(), mlp.has_gate() ? gate.data() : up.data(),
                               mlp.has_gate() ? up.data() : nullptr, int64_t(up.size()), mlp.activation);
    return apply(mlp.down, product);
  }

  Values forward(const ShortConv& conv, const Values& x, const Pass&) const {
    const Values bcu = apply(conv.in, x), taps(conv.conv, conv.conv + conv.n_channels() * conv.d_conv);
    const int64_t n = conv.n_channels();
    Values gated(size_t(n_tokens() * n)), y(gated.size());
    const auto at = [&](int64_t column, int64_t i) {
      return bcu[size_t((3 * (i / n) + column) * n + i % n)];
    };
    for (int64_t i = 0; i < n_tokens() * n; ++i) gated[size_t(i)] = at(0, i) * at(2, i);
    causal_conv_forward_reference<T>(y.data(), n, gated.data(), n, segments_,
                                     {taps.data(), nullptr, n, conv.d_conv});
    for (int64_t i = 0; i < n_tokens() * n; ++i) y[size_t(i)] *= at(1, i);
    return apply(conv.out, y);
  }

  // Every expert computes every token, and counts as much as the token's router says.
  Values forward(const Experts& e, const Values& x, const Pass& pass) const {
    const auto n_expert = size_t(e.form.n_expert);
    const Values weights = routed(apply(e.router, e.router_norm ? normed(pass.stream, e.router_norm) : x), e);
    Values sum;
    for (size_t k = 0; k < n_expert; ++k) {
      const Values y = forward(e.experts[k], x, pass);
      const size_t n_embd = y.size() / size_t(n_tokens());
      sum.resize(y.size());
      for (size_t i = 0; i < y.size(); ++i) {
        const T bias = e.down_bias.empty() ? T(0) : T(e.down_bias[k][i % n_embd]);
        sum[i] += weights[i / n_embd * n_expert + k] * (y[i] + bias);
      }
    }
    return sum;
  }

  Values forward(const Mamba2& m, const Values& x, const Pass&) const {
    const auto copied = [](const float* from, int64_t n) { return from ? Values(from, from + n) : Values(); };
    const int64_t n = n_tokens(), n_inner = m.n_inner(), n_conv = m.n_conv(), n_head = m.shape.n_head;
    const int64_t n_group = m.shape.n_group, n_bc = n_group * m.shape.n_state;
    const Values z = apply(m.z, x), u = apply(m.u, x), dt = apply(m.dt, x);
    const Values w = copied(m.conv.w, n_conv * m.conv.d_conv), bias = copied(m.conv.bias, n_conv);
    const Values a = copied(m.heads.a, n_head), d = copied(m.heads.d, n_head);
    const Values dt_bias = copied(m.heads.dt_bias, n_head), gain = copied(m.gain, n_inner);
    const ConvFormOf<T> form{w.data(), bias.empty() ? nullptr : bias.data(), n_conv, m.conv.d_conv, true};
    Values xbc(u.size()), s(z.size());
    causal_conv_forward_reference(xbc.data(), n_conv, u.data(), n_conv, segments_, form);
    for (const AttentionSegment& segment : segments_) {
      const T* row = &xbc[size_t(segment.q_begin * n_conv)];
      const SsdInputOf<T> in{
          row, row + n_inner, row + n_inner + n_bc, n_conv, &dt[size_t(segment.q_begin * n_head)], n_head};
      for (int64_t head = 0; head < n_head; ++head) {
        Values state(size_t(m.shape.n_state * m.shape.head_dim));
        ssd_forward_reference(&s[size_t(segment.q_begin * n_inner)], in, {a.data(), d.data(), dt_bias.data()},
                              m.shape, segment.n_q, head, state.data());
      }
    }
    for (size_t i = 0; i < s.size(); ++i) s[i] *= activation_value(z[i], Activation::silu);
    if (m.gain) {
      const T* none = nullptr;
      rms_norm_forward_reference(s.data(), s.data(), none, T(m.norm_eps), n * n_group, n_inner / n_group);
      for (size_t i = 0; i < s.size(); ++i) s[i] *= gain[i % size_t(n_inner)];
    }
    return apply(m.out, s);
  }

  // From logits (n_tokens, n_expert) to weights, 0 of experts that were not chosen.
  Values routed(const Values& logits, const Experts& e) const {
    const RouterForm& form = e.form;
    const auto n_expert = size_t(form.n_expert), group_size = n_expert / size_t(form.n_group);
    Values weights(logits.size());
    for (size_t t = 0; t < size_t(n_tokens()); ++t) {
      std::vector<T> p(logits.begin() + std::ptrdiff_t(t * n_expert),
                       logits.begin() + std::ptrdiff_t((t + 1) * n_expert));
      T all = 0;
      for (T& v : p)
        all += v = form.gating == Gating::sigmoid ? 1 / (1 + elementary::exp(-v)) : elementary::exp(v);
      for (T& v : p) v /= form.gating == Gating::sigmoid ? T(1) : all;
      std::vector<T> ranked = p;
      for (size_t k = 0; k < n_expert && e.choice_bias; ++k) ranked[k] += T(e.choice_bias[k]);
      std::vector<size_t> order(n_expert);
      for (size_t k = 0; k < n_expert; ++k) order[k] = k;
      const auto better = [&](size_t i, size_t j) { return ranked[i] > ranked[j]; };
      std::stable_sort(order.begin(), order.end(), better);
      if (form.n_group > 1) {
        std::vector<std::pair<T, size_t>> groups;  // less their best experts' sum, to sort ascending
        for (size_t g = 0; g < size_t(form.n_group); ++g) {
          std::vector<T> of_group(ranked.begin() + std::ptrdiff_t(g * group_size),
                                  ranked.begin() + std::ptrdiff_t((g + 1) * group_size));
          std::sort(of_group.begin(), of_group.end(), std::greater<T>());
          groups.emplace_back(
              -(of_group[0] + (group_size > 1 && form.n_best_of_group > 1 ? of_group[1] : T(0))), g);
        }
        std::sort(groups.begin(), groups.end());
        groups.resize(size_t(form.n_group_used));
        std::erase_if(order, [&](size_t k) {
          return std::none_of(groups.begin(), groups.end(),
                              [&](const auto& group) { return group.second == k / group_size; });
        });
      }
      order.resize(size_t(form.n_used));
      T sum = 0;
      for (const size_t k : order) sum += p[k];
      for (const size_t k : order)
        weights[t * n_expert + k] = T(form.scale) * p[k] / (form.normalize ? sum : T(1)) *
                                    (e.expert_scale ? T(e.expert_scale[k]) : T(1));
    }
    return weights;
  }

  Values forward(const PerLayerInput& input, const Values& x, const Pass& pass) const {
    const size_t n_ple = size_t(input.gate.n_out());
    Values p = apply(input.model, pass.embedded);
    for (T& v : p) v /= std::sqrt(T(input.model.n_in()));
    p = normed(p, input.norm);
    for (size_t i = 0; i < p.size(); ++i) {
      const Values row = decoded(input.table.rows(pass.ids[i / n_ple], 1));
      p[i] += std::sqrt(T(n_ple)) * row[size_t(input.column) + i % n_ple];
      p[i] *= std::sqrt(T(0.5));
    }
    const Values gate = apply(input.gate, x);
    Values product(p.size());
    gated_forward_reference<T>(product.data(), gate.data(), p.data(), int64_t(p.size()), input.activation);
    return apply(input.proj, product);
  }

  const Model& model_;
  std::span<const float> place_;
  const Values& values_;
  std::span<const int32_t> positions_;
  std::span<const AttentionSegment> segments_;
  std::vector<Rope> ropes_;
};

}  // namespace lora
