// What a model's layers are made of, before any tensor is read: a layer is a list of residual branches, a
// branch a norm, one body or several that read it (the second may have a norm of its own), a norm of their
// sum, and a factor:
//
//   x += scale * after(sum of bodies(before(x)))
//
// Each body's output may have a norm of its own before the sum, and the whole stream a factor behind it.
// A body is one of a closed set (BodySpec); what each computes stands in nn/, in the file named like it.
// Tensors are named as in GGUF, without "blk.N." before and ".weight" or ".bias" behind.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <variant>
#include <vector>

#include "nn/attention.h"
#include "nn/delta_net.h"
#include "nn/experts.h"
#include "nn/latent_attention.h"
#include "nn/mamba2.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/per_layer_input.h"
#include "nn/short_conv.h"

namespace lora {

struct NormSpec {
  std::string_view tensor;  // empty: gains are 1
  NormKind kind = NormKind::none;
  int64_t n = 0;
  bool has_bias = false;  // the file must have one; others may
};

// Rows [first_row, first_row + n_out) of a tensor: one that is fused is named by several. GGUF quantizes each
// row by itself.
struct LinearSpec {
  std::string_view tensor;  // empty: there is none
  int64_t n_out = 0, n_in = 0, first_row = 0;
  bool has_bias = false;  // the file must have one; others may
  int64_t n_slices = 1;   // a stack of so many matrices, an expert each
  bool may_be_absent = false;
};

// A whole tensor of n numbers, with its ".weight" or ".bias", or of n in each of some rows.
struct VectorSpec {
  std::string_view tensor;  // empty: there is none
  int64_t n = 0, n_rows = 1;
  bool may_be_absent = false;
  bool fades = false;  // logarithms of what states are multiplied by: none is above 0
};

struct AttentionSpec {
  LinearSpec q, k, v, o;
  NormSpec q_norm, k_norm;  // of each head or of the whole row, by their length
  AttentionForm form;
  VectorSpec sinks = {};  // a score each head gives to nothing
  NormSpec v_norm = {};
};

struct LatentAttentionSpec {
  LinearSpec q_a, q, kv_a;
  LinearSpec kv_b;      // one matrix, or what adapters go by where these two hold it:
  LinearSpec k_b, v_b;  // stacks, a matrix of each head
  LinearSpec o;
  NormSpec q_norm, kv_norm;
  LatentForm form;
};

struct MlpSpec {
  LinearSpec gate, up, down;  // without a gate: down(activation(up x))
  Activation activation = Activation::silu;
};

struct ExpertsSpec {
  LinearSpec router;
  VectorSpec choice_bias;  // added to the router's scores where experts are chosen, but not to their weights
  MlpSpec expert;          // one of them; its tensors are stacks
  RouterForm form;
  // Gains of an RMS norm through which the router reads the stream, each over sqrt(n); none: it reads what
  // experts do.
  VectorSpec router_gain = {};
  VectorSpec expert_scale = {};  // factors on experts' weights
};

// What a layer is told of its tokens again. Its rows of a matrix, a norm, and its columns of a table: those
// three are the whole model's, and named without "blk.N.".
struct PerLayerInputSpec {
  LinearSpec gate, proj;
  LinearSpec model;
  NormSpec norm;
  std::string_view table;
  int64_t n_columns = 0, column = 0;  // of the table; this layer's first
  Activation activation = Activation::gelu_tanh;
};

struct DeltaNetSpec {
  LinearSpec qkv, z;
  LinearSpec beta, alpha;  // without alpha, beta has both
  LinearSpec o;
  NormSpec norm;
  VectorSpec conv, a, dt_bias;
  DeltaNetForm form;
};

struct Mamba2Spec {
  LinearSpec z, u, dt, out;  // the first three are rows of one tensor
  VectorSpec conv, conv_bias, dt_bias, a, d;
  VectorSpec norm;  // a row for each group
  int64_t d_conv;
  SsdShape shape;
};

struct ShortConvSpec {
  LinearSpec in;    // rows: what gates the input, what gates the output, the input
  VectorSpec conv;  // a row of taps for each channel
  LinearSpec out;
};

using BodySpec = std::variant<AttentionSpec, LatentAttentionSpec, MlpSpec, ExpertsSpec, PerLayerInputSpec,
                              ShortConvSpec, Mamba2Spec, DeltaNetSpec>;

struct BranchSpec {
  NormSpec before;
  std::vector<BodySpec> bodies;
  NormSpec after = {};
  float scale = 1;
  NormSpec before_second = {};            // none: the second body reads through `before`, too
  std::vector<NormSpec> after_each = {};  // of each body's output, or empty
  VectorSpec stream_scale = {};           // x becomes that times x, behind the sum; one number
};

using LayerSpec = std::vector<BranchSpec>;

// Calls visit(LinearSpec), visit(NormSpec) and visit(VectorSpec) for all that a layer has of its own, in the
// order in which they compute.
template <class Visit>
void for_each_part(const LayerSpec& layer, const Visit& visit) {
  const auto norm = [&](const NormSpec& spec) {
    if (!spec.tensor.empty()) visit(spec);
  };
  const auto linear = [&](const LinearSpec& spec) {
    if (!spec.tensor.empty()) visit(spec);
  };
  const auto vector = [&](const VectorSpec& spec) {
    if (!spec.tensor.empty()) visit(spec);
  };
  struct EachBody {
    decltype(norm)& each_norm;
    decltype(linear)& each_linear;
    decltype(vector)& each_vector;
    void operator()(const AttentionSpec& a) const {
      for (const LinearSpec* spec : {&a.q, &a.k, &a.v}) each_linear(*spec);
      for (const NormSpec* spec : {&a.q_norm, &a.k_norm, &a.v_norm}) each_norm(*spec);
      each_vector(a.sinks);
      each_linear(a.o);
    }
    void operator()(const LatentAttentionSpec& a) const {
      each_linear(a.q_a);
      each_norm(a.q_norm);
      each_linear(a.q);
      each_linear(a.kv_a);
      each_norm(a.kv_norm);
      if (a.k_b.tensor.empty()) each_linear(a.kv_b);
      for (const LinearSpec* spec : {&a.k_b, &a.v_b, &a.o}) each_linear(*spec);
    }
    void operator()(const MlpSpec& m) const {
      for (const LinearSpec* spec : {&m.gate, &m.up, &m.down}) each_linear(*spec);
    }
    void operator()(const ExpertsSpec& e) const {
      each_vector(e.router_gain);
      each_linear(e.router);
      each_vector(e.choice_bias);
      (*this)(e.expert);
      each_vector(e.expert_scale);
    }
    void operator()(const PerLayerInputSpec& p) const {
      each_linear(p.gate);
      each_linear(p.proj);
    }
    void operator()(const DeltaNetSpec& d) const {
      for (const LinearSpec* spec : {&d.qkv, &d.z, &d.beta, &d.alpha}) each_linear(*spec);
      for (const VectorSpec* spec : {&d.conv, &d.a, &d.dt_bias}) each_vector(*spec);
      each_norm(d.norm);
      each_linear(d.o);
    }
    void operator()(const Mamba2Spec& m) const {
      for (const LinearSpec* spec : {&m.z, &m.u, &m.dt}) each_linear(*spec);
      for (const VectorSpec* spec : {&m.conv, &m.conv_bias, &m.dt_bias, &m.a, &m.d, &m.norm})
        each_vector(*spec);
      each_linear(m.out);
    }
    void operator()(const ShortConvSpec& c) const {
      each_linear(c.in);
      each_vector(c.conv);
      each_linear(c.out);
    }
  };
  for (const BranchSpec& branch : layer) {
    norm(branch.before);
    norm(branch.before_second);
    for (const BodySpec& body : branch.bodies) std::visit(EachBody{norm, linear, vector}, body);
    for (const NormSpec& after : branch.after_each) norm(after);
    norm(branch.after);
    vector(branch.stream_scale);
  }
}

}  // namespace lora
