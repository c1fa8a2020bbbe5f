// A tiny model of each family, written to a file from the family's own specification: random numbers in the
// tensors that its layers name, keys that make all of its options matter.
#pragma once

#include <cmath>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "arch/config.h"
#include "base/random.h"
#include "gguf/gguf.h"

namespace lora::test {

inline constexpr int64_t kTinyVocab = 300;

class TinyModel {
 public:
  // Sizes that are no multiples of one another or of a vector; `path`: where the file is written.
  TinyModel(const Architecture& architecture, const std::string& path, Type type = Type::F32)
      : prefix_(std::string(architecture.name) + "."), type_(type) {
    if (type != Type::F32) n_embd_ = 64, n_ff_ = 96;  // blocks of 32 divide rows
    set_keys(architecture);
    // The shape that the keys give: of a file with as many tensors as the reader wants to see.
    {
      GgufWriter shape = writer_;
      const std::vector<float> zeros(size_t(kTinyVocab * n_embd_));
      const auto bytes = std::as_bytes(std::span(zeros));
      shape.add_tensor("token_embd.weight", Type::F32, {n_embd_, kTinyVocab}, bytes);
      for (int64_t i = 0; i < kLayers; ++i) shape.add_tensor("x" + std::to_string(i), Type::F32, {1}, bytes.first(4));
      shape.write(path);
    }
    const ModelConfig config = read_config(Gguf::open(path));
    add_matrix("token_embd", kTinyVocab, config.n_embd, 1);
    for (int64_t i = 0; i < config.n_layer; ++i) add_layer(config.architecture->layer(config, i), i);
    add_norm({"output_norm", config.architecture->norm, config.n_embd, config.norms_have_bias}, "");
    writer_.write(path);
  }

  static constexpr int64_t kLayers = 5;

 private:
  void set_keys(const Architecture& architecture) {
    writer_.set_string("general.architecture", std::string(architecture.name));
    writer_.set_string("general.name", "tiny " + std::string(architecture.name));
    for (const auto& [key, value] : {std::pair<const char*, uint32_t>{"block_count", uint32_t(kLayers)},
                                     {"embedding_length", uint32_t(n_embd_)},
                                     {"feed_forward_length", uint32_t(n_ff_)},
                                     {"attention.head_count", 6},
                                     {"attention.head_count_kv", 2},
                                     {"attention.key_length", uint32_t(kHeadDim)},
                                     {"attention.value_length", uint32_t(kHeadDim)},
                                     {"attention.sliding_window", 5},
                                     {"context_length", 512},
                                     {"rope.dimension_count", uint32_t(kHeadDim) - 4}}) {
      writer_.set_u32(prefix_ + key, value);
    }
    for (const auto& [key, value] : {std::pair<const char*, float>{"attention.layer_norm_rms_epsilon", 1e-3f},
                                     {"attention.layer_norm_epsilon", 1e-3f},
                                     {"rope.freq_base", 30},
                                     {"rope.freq_base_swa", 12},
                                     {"attn_logit_softcapping", 2},
                                     {"final_logit_softcapping", 3},
                                     {"attention.scale", 0.4f},
                                     {"attention.temperature_scale", 0.3f},
                                     {"embedding_scale", 1.5f},
                                     {"residual_scale", 0.6f},
                                     {"logit_scale", 0.7f}}) {
      writer_.set_f32(prefix_ + key, value);
    }
    writer_.set_u32(prefix_ + "rope.scaling.original_context_length", 4);
  }

  void add_layer(const LayerSpec& layer, int64_t i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    std::map<std::string_view, LinearSpec> whole;  // fused tensors once
    struct Visit {
      TinyModel& self;
      std::map<std::string_view, LinearSpec>& whole;
      const std::string& prefix;
      void operator()(const NormSpec& norm) const { self.add_norm(norm, prefix); }
      void operator()(const LinearSpec& part) const {
        LinearSpec& all = whole[part.tensor];
        all.n_in = part.n_in;
        all.n_out = std::max(all.n_out, part.first_row + part.n_out);
        all.has_bias |= part.has_bias;
      }
    };
    for_each_part(layer, Visit{*this, whole, prefix});
    for (const auto& [tensor, spec] : whole) {
      add_matrix(prefix + std::string(tensor), spec.n_out, spec.n_in, 2 / std::sqrt(float(spec.n_in)));
      if (spec.has_bias) add_vector(prefix + std::string(tensor) + ".bias", spec.n_out, 0, 0.3f);
    }
  }

  void add_norm(const NormSpec& norm, const std::string& prefix) {
    add_vector(prefix + std::string(norm.tensor) + ".weight", norm.n, 1, 0.5f);
    if (norm.has_bias) add_vector(prefix + std::string(norm.tensor) + ".bias", norm.n, 0, 0.3f);
  }

  std::vector<float>& random(const std::string& name, int64_t n, float center, float size) {
    std::vector<float>& values = stored_.emplace_back(size_t(n));
    for (int64_t i = 0; i < n; ++i) {
      const double u = random_uniform(5, Purpose::test, stream_id(name), uint64_t(i));
      values[size_t(i)] = float(double(center) + double(size) * (2 * u - 1));
    }
    return values;
  }

  void add_vector(const std::string& name, int64_t n, float center, float size) {
    writer_.add_tensor(name, Type::F32, {n}, std::as_bytes(std::span(random(name, n, center, size))));
  }

  void add_matrix(const std::string& name, int64_t n_out, int64_t n_in, float size) {
    const std::vector<float>& values = random(name, n_out * n_in, 0, size);
    const TypeTraits& t = traits(type_);
    std::vector<std::byte>& bytes = encoded_.emplace_back(size_t(n_out * n_in / t.block_size * t.block_bytes));
    t.encode(bytes.data(), values.data(), n_out * n_in, nullptr);
    writer_.add_tensor(name + ".weight", type_, {n_in, n_out}, bytes);
  }

  static constexpr int64_t kHeadDim = 14;

  std::string prefix_;
  Type type_;
  int64_t n_embd_ = 36, n_ff_ = 44;
  GgufWriter writer_;
  std::list<std::vector<float>> stored_;
  std::list<std::vector<std::byte>> encoded_;
};

}  // namespace lora::test
