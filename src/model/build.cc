#include "model/build.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace lora {
namespace {

struct Builder {
  const LayerSpec& spec;
  std::string prefix;
  const ModelConfig& config;
  TensorSource& source;
  std::vector<Buffer<float>>& biases;
  std::map<std::string_view, int64_t> n_rows;  // of each tensor, all its parts together

  Linear linear(const LinearSpec& part) const {
    const bool is_there =
        !part.tensor.empty() &&
        (!part.may_be_absent || source.has(fmt::format("{}{}.weight", prefix, part.tensor)));
    return !is_there ? Linear() : build_linear(part, prefix, n_rows.at(part.tensor), source, biases);
  }
  Norm norm(const NormSpec& part) const { return build_norm(part, prefix, config.norm_eps, source); }

  const float* vector(const VectorSpec& part) const {
    if (part.tensor.empty()) return nullptr;
    if (part.may_be_absent && !source.has(prefix + std::string(part.tensor))) return nullptr;
    const std::string name = prefix + std::string(part.tensor);
    biases.push_back(*source.vector(name, part.n, true, part.n_rows));
    for (const float value : biases.back().span()) {
      if (part.fades && !(value <= 0))
        source.refuse(name, fmt::format("{} makes no sense: states would grow without end", value));
    }
    return biases.back().data();
  }

  Norm router_norm(const VectorSpec& part) const {
    Norm norm;
    if (part.tensor.empty()) return norm;
    norm.kind = NormKind::rms;
    norm.eps = config.norm_eps;
    norm.gain = *source.vector(prefix + std::string(part.tensor), part.n, true);
    for (float& gain : norm.gain.span()) gain /= std::sqrt(float(part.n));
    return norm;
  }

  Body operator()(const AttentionSpec& a) const {
    Attention attention{linear(a.q),    linear(a.k),    linear(a.v), linear(a.o),
                        norm(a.q_norm), norm(a.k_norm), a.form};
    attention.form.shape.sinks = vector(a.sinks);
    attention.v_norm = norm(a.v_norm);
    return attention;
  }
  Body operator()(const LatentAttentionSpec& a) const {
    LatentAttention attention;
    attention.q_a = linear(a.q_a);
    attention.q = linear(a.q);
    attention.kv_a = linear(a.kv_a);
    attention.o = linear(a.o);
    attention.q_norm = norm(a.q_norm);
    attention.kv_norm = norm(a.kv_norm);
    attention.form = a.form;
    if (a.k_b.tensor.empty()) {
      attention.kv_b = linear(a.kv_b);
      return attention;
    }
    for (const auto& [part, to] : {std::pair(&a.k_b, &attention.k_b), std::pair(&a.v_b, &attention.v_b)}) {
      const std::string name = prefix + std::string(part->tensor) + ".weight";
      to->w = source.matrix(name, part->n_out, part->n_in, part->n_slices);
      to->tensor = part->tensor;
      to->n_slices = part->n_slices;
    }
    attention.kv_b.w = {attention.v_b.w.type, nullptr, a.kv_b.n_out, a.kv_b.n_in};
    attention.kv_b.tensor = a.kv_b.tensor;
    attention.kv_b.adapters_only = true;
    return attention;
  }
  Body operator()(const MlpSpec& m) const {
    return Mlp{linear(m.gate), linear(m.up), linear(m.down), m.activation};
  }
  Body operator()(const Mamba2Spec& m) const {
    Mamba2 mamba;
    mamba.z = linear(m.z);
    mamba.u = linear(m.u);
    mamba.dt = linear(m.dt);
    mamba.out = linear(m.out);
    mamba.shape = m.shape;
    mamba.conv = {vector(m.conv), vector(m.conv_bias), mamba.n_conv(), m.d_conv, true};
    mamba.heads = {vector(m.a), vector(m.d), vector(m.dt_bias)};
    mamba.gain = vector(m.norm);
    mamba.norm_eps = config.norm_eps;
    return mamba;
  }
  Body operator()(const ExpertsSpec& e) const {
    const auto stack = [&](const LinearSpec& part) {
      return part.tensor.empty() ? std::vector<Linear>(size_t(e.form.n_expert))
                                 : build_linears(part, prefix, n_rows.at(part.tensor), source, biases);
    };
    std::vector<Linear> gate = stack(e.expert.gate), up = stack(e.expert.up), down = stack(e.expert.down);
    Experts experts{.router = linear(e.router),
                    .choice_bias = vector(e.choice_bias),
                    .experts = {},
                    .down_bias = {},
                    .form = e.form,
                    .router_norm = router_norm(e.router_gain),
                    .expert_scale = vector(e.expert_scale)};
    for (size_t i = 0; i < up.size(); ++i) {
      // Outside of the layer, since it counts by the expert's weight.
      if (const float* bias = std::exchange(down[i].bias, nullptr)) experts.down_bias.push_back(bias);
      experts.experts.push_back(
          {std::move(gate[i]), std::move(up[i]), std::move(down[i]), e.expert.activation});
    }
    return experts;
  }
  Body operator()(const PerLayerInputSpec& p) const {
    return PerLayerInput{
        .gate = linear(p.gate),
        .proj = linear(p.proj),
        .model = build_linear(p.model, "", config.n_layer * p.model.n_out, source, biases),
        .norm = build_norm(p.norm, "", config.norm_eps, source),
        .table = source.matrix(std::string(p.table) + ".weight", config.n_vocab, p.n_columns),
        .column = p.column,
        .activation = p.activation};
  }
  Body operator()(const DeltaNetSpec& d) const {
    return DeltaNet{.qkv = linear(d.qkv),
                    .z = linear(d.z),
                    .beta = linear(d.beta),
                    .alpha = linear(d.alpha),
                    .o = linear(d.o),
                    .norm = norm(d.norm),
                    .conv = vector(d.conv),
                    .a = vector(d.a),
                    .dt_bias = vector(d.dt_bias),
                    .form = d.form};
  }
  Body operator()(const ShortConvSpec& c) const {
    return ShortConv{linear(c.in), vector(c.conv), c.conv.n, linear(c.out)};
  }
};

}  // namespace

std::string tensor_of_slice(std::string_view stack, int64_t slice) {
  constexpr std::string_view kEnd = "_exps.weight";
  if (!stack.ends_with(kEnd)) return "";
  return fmt::format("{}.{}.weight", stack.substr(0, stack.size() - kEnd.size()), slice);
}

std::vector<Linear> build_linears(const LinearSpec& spec, const std::string& prefix, int64_t n_rows,
                                  TensorSource& source, std::vector<Buffer<float>>& biases) {
  const std::string name = prefix + std::string(spec.tensor);
  const bool is_apart =
      spec.n_slices > 1 && !source.has(name + ".weight") && source.has(tensor_of_slice(name + ".weight", 0));
  const MatrixView whole =
      is_apart ? MatrixView() : source.matrix(name + ".weight", n_rows, spec.n_in, spec.n_slices);
  auto bias = is_apart ? std::nullopt : source.vector(name + ".bias", n_rows, spec.has_bias, spec.n_slices);
  std::vector<Linear> linears;
  for (int64_t i = 0; i < spec.n_slices; ++i) {
    Linear& linear = linears.emplace_back();
    const MatrixView slice = is_apart ? source.matrix(tensor_of_slice(name + ".weight", i), n_rows, spec.n_in)
                                      : whole.rows(i * n_rows, n_rows);
    linear.w = slice.rows(spec.first_row, spec.n_out);
    linear.tensor = spec.tensor;
    linear.first_row = spec.first_row;
    linear.slice = i;
    linear.n_slices = spec.n_slices;
    linear.stream = stream_id(fmt::format("{} {} {}", name, i, spec.first_row));
    if (bias) linear.bias = bias->data() + i * n_rows + spec.first_row;
  }
  if (bias) biases.push_back(std::move(*bias));
  return linears;
}

Linear build_linear(const LinearSpec& spec, const std::string& prefix, int64_t n_rows, TensorSource& source,
                    std::vector<Buffer<float>>& biases) {
  return std::move(build_linears(spec, prefix, n_rows, source, biases).front());
}

Norm build_norm(const NormSpec& spec, const std::string& prefix, float eps, TensorSource& source) {
  Norm norm;
  if (spec.kind == NormKind::none) return norm;
  const std::string name = prefix + std::string(spec.tensor);
  norm.kind = spec.kind;
  norm.tensor = spec.tensor;
  norm.eps = eps;
  if (spec.tensor.empty()) {
    norm.gain = Buffer<float>(spec.n);
    std::ranges::fill(norm.gain.span(), 1.0f);
    return norm;
  }
  // Falcon-H1's files have one without an ending.
  const bool is_bare = !source.has(name + ".weight") && source.has(name);
  norm.gain = *source.vector(is_bare ? name : name + ".weight", spec.n, true);
  if (spec.kind != NormKind::layer) return norm;
  if (auto bias = source.vector(name + ".bias", spec.n, spec.has_bias)) norm.bias = std::move(*bias);
  return norm;
}

Layer build_layer(const LayerSpec& spec, int64_t i, const ModelConfig& config, TensorSource& source,
                  std::vector<Buffer<float>>& biases) {
  Builder builder{spec, fmt::format("blk.{}.", i), config, source, biases, {}};
  struct Rows {
    std::map<std::string_view, int64_t>& n_rows;
    void operator()(const NormSpec&) const {}
    void operator()(const VectorSpec&) const {}
    void operator()(const LinearSpec& part) const {
      n_rows[part.tensor] = std::max(n_rows[part.tensor], part.first_row + part.n_out);
    }
  };
  for_each_part(spec, Rows{builder.n_rows});
  Layer layer;
  for (const BranchSpec& branch : spec) {
    Branch built{builder.norm(branch.before),
                 {},
                 builder.norm(branch.after),
                 branch.scale,
                 builder.norm(branch.before_second)};
    for (const BodySpec& body : branch.bodies) built.bodies.push_back(std::visit(builder, body));
    for (const NormSpec& after : branch.after_each) built.after_each.push_back(builder.norm(after));
    if (const float* scale = builder.vector(branch.stream_scale)) built.stream_scale = *scale;
    layer.branches.push_back(std::move(built));
  }
  return layer;
}

}  // namespace lora
