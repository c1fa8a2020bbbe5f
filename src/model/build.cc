#include "model/build.h"

#include <algorithm>
#include <map>

#include "base/error.h"

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
    return part.tensor.empty() ? Linear()
                               : build_linear(part, prefix, n_rows.at(part.tensor), source, biases);
  }
  Norm norm(const NormSpec& part) const { return build_norm(part, prefix, config.norm_eps, source); }

  Body operator()(const AttentionSpec& a) const {
    return Attention{linear(a.q),    linear(a.k),    linear(a.v), linear(a.o),
                     norm(a.q_norm), norm(a.k_norm), a.form};
  }
  Body operator()(const MlpSpec& m) const {
    return Mlp{linear(m.gate), linear(m.up), linear(m.down), m.activation};
  }
};

}  // namespace

Linear build_linear(const LinearSpec& spec, const std::string& prefix, int64_t n_rows, TensorSource& source,
                    std::vector<Buffer<float>>& biases) {
  const std::string name = prefix + std::string(spec.tensor);
  const MatrixView whole = source.matrix(name + ".weight", n_rows, spec.n_in);
  Linear linear;
  linear.w = whole.rows(spec.first_row, spec.n_out);
  linear.tensor = spec.tensor;
  linear.first_row = spec.first_row;
  if (auto bias = source.vector(name + ".bias", n_rows, spec.has_bias)) {
    linear.bias = bias->data() + spec.first_row;
    biases.push_back(std::move(*bias));
  }
  return linear;
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
  norm.gain = *source.vector(name + ".weight", spec.n, true);
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
    layer.branches.push_back(std::move(built));
  }
  return layer;
}

}  // namespace lora
