// A tiny model of each family, written to a file from the family's own specification: random numbers in the
// tensors that its layers name, keys that make all of its options matter.
#pragma once

#include <cmath>
#include <list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/parameters.h"
#include "arch/config.h"
#include "base/random.h"
#include "gguf/gguf.h"

namespace lora::test {

inline constexpr int64_t kTinyVocab = 300;

struct TinyOptions {
  Type type = Type::F32;
  const Gguf* vocabulary = nullptr;  // whose tokens it has
  // What llama.cpp computes too: heads as wide as the stream, turned as a whole; windows in the families to
  // which it gives them.
  bool for_llama_cpp = false;
};

class TinyModel {
 public:
  // Sizes that are no multiples of one another or of a vector; `path`: where the file is written.
  TinyModel(const Architecture& architecture, const std::string& path, const TinyOptions& options = {})
      : prefix_(std::string(architecture.name) + "."), options_(options) {
    if (options.type != Type::F32) n_embd_ = 64, n_ff_ = 96, head_dim_ = 16;  // blocks of 32 divide rows
    if (options.for_llama_cpp) n_embd_ = kHeads * head_dim_;
    // llama.cpp tells the sizes of Baichuan apart by their layers.
    if (options.for_llama_cpp && architecture.name == "baichuan") n_layer_ = 32;
    if (options.vocabulary) set_vocabulary(*options.vocabulary);
    set_keys(architecture);
    // The shape that the keys give: of a file with as many tensors as the reader wants to see.
    {
      GgufWriter shape = writer_;
      const std::vector<float> zeros(size_t(n_vocab_ * n_embd_));
      const auto bytes = std::as_bytes(std::span(zeros));
      shape.add_tensor("token_embd.weight", Type::F32, {n_embd_, n_vocab_}, bytes);
      for (int64_t i = 0; i < n_layer_; ++i)
        shape.add_tensor(fmt::format("x{}", i), Type::F32, {1}, bytes.first(4));
      shape.write(path);
    }
    const ModelConfig config = read_config(Gguf::open(path));
    add_matrix("token_embd", n_vocab_, config.n_embd, 1);
    for (int64_t i = 0; i < config.n_layer; ++i) add_layer(config.architecture->layer(config, i), i);
    add_norm({"output_norm", config.architecture->norm, config.n_embd, config.norms_have_bias}, "");
    // What llama.cpp wants: these have no output matrix, and one a bias of it.
    const std::set<std::string_view> tied = {"cohere2", "command-r", "gemma", "gemma2"};
    if (!tied.contains(architecture.name))
      add_matrix("output", n_vocab_, config.n_embd, 2 / std::sqrt(float(n_embd_)));
    if (architecture.name == "phi2") add_vector("output.bias", n_vocab_, 0, 0.3f);
    writer_.write(path);
  }

 private:
  void set_keys(const Architecture& architecture) {
    writer_.set_string("general.architecture", std::string(architecture.name));
    writer_.set_string("general.name", "a tiny model");
    for (const auto& [key, value] :
         {std::pair<const char*, uint32_t>{"block_count", uint32_t(n_layer_)},
          {"embedding_length", uint32_t(n_embd_)},
          {"feed_forward_length", uint32_t(n_ff_)},
          {"attention.head_count", uint32_t(kHeads)},
          {"attention.head_count_kv", 2},
          {"attention.key_length", uint32_t(head_dim_)},
          {"attention.value_length", uint32_t(head_dim_)},
          {"context_length", 512},
          {"vocab_size", uint32_t(n_vocab_)},
          {"rope.dimension_count", uint32_t(head_dim_ - (options_.for_llama_cpp ? 0 : 4))}}) {
      writer_.set_u32(prefix_ + key, value);
    }
    for (const auto& [key, value] : {std::pair<const char*, float>{"attention.layer_norm_rms_epsilon", 1e-3f},
                                     {"attention.layer_norm_epsilon", 1e-3f},
                                     {"rope.freq_base", 30},
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
    // llama.cpp leaves Phi-3's window out, gives EXAONE 4 one where it has 64 layers, and knows a rotary base of
    // windowed layers in Gemma only.
    const std::set<std::string_view> differs = {"phi3", "exaone4"};
    if (!options_.for_llama_cpp || !differs.contains(architecture.name))
      writer_.set_u32(prefix_ + "attention.sliding_window", 5);
    if (!options_.for_llama_cpp || std::string_view(architecture.name).starts_with("gemma"))
      writer_.set_f32(prefix_ + "rope.freq_base_swa", 12);
  }

  void set_vocabulary(const Gguf& vocabulary) {
    for (const auto& [key, value] : vocabulary.values()) {
      if (key.starts_with("tokenizer.")) writer_.set(key, value);
    }
    n_vocab_ = int64_t(vocabulary.get_strings("tokenizer.ggml.tokens")->size());
  }

  void add_layer(const LayerSpec& layer, int64_t i) {
    const std::string prefix = fmt::format("blk.{}.", i);
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
    const TypeTraits& t = traits(options_.type);
    std::vector<std::byte>& bytes =
        encoded_.emplace_back(size_t(n_out * n_in / t.block_size * t.block_bytes));
    t.encode(bytes.data(), values.data(), n_out * n_in, nullptr);
    writer_.add_tensor(name + ".weight", options_.type, {n_in, n_out}, bytes);
  }

  static constexpr int64_t kHeads = 6;

  std::string prefix_;
  TinyOptions options_;
  int64_t n_embd_ = 36, n_ff_ = 44, n_vocab_ = kTinyVocab, n_layer_ = 5, head_dim_ = 14;
  GgufWriter writer_;
  std::list<std::vector<float>> stored_;
  std::list<std::vector<std::byte>> encoded_;
};

// A pair on every linear layer of every block, and with `ends` on the embedding and the output; B is not
// zero.
inline LoraParameters all_pairs(const Model& model, bool ends = true) {
  std::vector<LoraParameters::Pair> pairs;
  const auto add = [&](const std::string& tensor, int64_t n_in, int64_t n_out) {
    pairs.push_back({tensor, n_in, n_out, int64_t(1 + pairs.size() % 3), 0, 0});
  };
  for (int64_t i = 0; i < model.config.n_layer; ++i) {
    for (const std::string_view name : block_tensors(model)) {
      const std::string tensor = fmt::format("blk.{}.{}.weight", i, name);
      int64_t n_in = 0, n_out = 0;
      for (const Linear* linear : model.find_linears(tensor)) n_in = linear->n_in(), n_out += linear->n_out();
      if (n_out > 0) add(tensor, n_in, n_out);
    }
  }
  if (ends) add("token_embd.weight", model.config.n_vocab, model.config.n_embd);
  if (ends && !model.tied) add("output.weight", model.config.n_embd, model.config.n_vocab);
  LoraParameters parameters = make_parameters(std::move(pairs), 4, false);
  for (const auto& pair : parameters.pairs) {
    const auto fill = [&](int64_t at, int64_t n, double size, uint64_t which) {
      for (int64_t i = 0; i < n; ++i) {
        const double u = random_uniform(9, Purpose::test, stream_id(pair.base) + which, uint64_t(i));
        parameters.values[at + i] = float(size * (2 * u - 1));
      }
    };
    fill(pair.a, pair.a_size(), 1 / std::sqrt(double(pair.n_in)), 0);
    fill(pair.b, pair.b_size(), 0.5, 1);
  }
  return parameters;
}

}  // namespace lora::test
