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
#include "arch/blocks.h"
#include "base/error.h"
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
    const ModelConfig config = config_of_keys(Gguf::of_values(path, keys_), n_vocab_);
    for (const auto& [key, value] : keys_) writer_.set(key, value);
    add_matrix("token_embd", n_vocab_, config.n_embd, 1);
    for (int64_t i = 0; i < config.n_layer; ++i) add_layer(config.architecture->layer(config, i), i);
    add_norm(norm(config, "output_norm"), "");
    // What llama.cpp wants: these have no output matrix, and one a bias of it.
    const std::set<std::string_view> tied = {"cohere2", "command-r", "gemma", "gemma2"};
    if (!tied.contains(architecture.name))
      add_matrix("output", n_vocab_, config.n_embd, 2 / std::sqrt(float(n_embd_)));
    if (architecture.name == "phi2") add_vector("output.bias", n_vocab_, 0, 0.3f);
    writer_.write(path);
  }

 private:
  void set_size(std::string_view name, int64_t value) {
    keys_.emplace_back(prefix_ + std::string(name), GgufValue{GgufValueType::u32, {}, uint64_t(value)});
  }
  void set_number(std::string_view name, double value) {
    keys_.emplace_back(prefix_ + std::string(name), GgufValue{GgufValueType::f32, {}, value});
  }

  void set_keys(const Architecture& architecture) {
    keys_.emplace_back("general.architecture",
                       GgufValue{GgufValueType::string, {}, std::string(architecture.name)});
    keys_.emplace_back("general.name", GgufValue{GgufValueType::string, {}, std::string("a tiny model")});
    for (const auto& [name, value] : {std::pair<const char*, int64_t>{"block_count", n_layer_},
                                      {"embedding_length", n_embd_},
                                      {"feed_forward_length", n_ff_},
                                      {"attention.head_count", kHeads},
                                      {"attention.head_count_kv", 2},
                                      {"attention.key_length", head_dim_},
                                      {"attention.value_length", head_dim_},
                                      {"context_length", 512},
                                      {"vocab_size", n_vocab_},
                                      {"rope.dimension_count", head_dim_ - (options_.for_llama_cpp ? 0 : 4)},
                                      {"rope.scaling.original_context_length", 4}}) {
      set_size(name, value);
    }
    set_number(norm_eps_key(architecture), 1e-3);
    set_number("rope.freq_base", 30);
    // llama.cpp leaves Phi-3's window out, gives EXAONE 4 one where it has 64 layers, and knows a rotary base
    // of windowed layers in Gemma only.
    const std::set<std::string_view> differs = {"phi3", "exaone4"};
    if (!options_.for_llama_cpp || !differs.contains(architecture.name))
      set_size("attention.sliding_window", 5);
    if (!options_.for_llama_cpp || std::string_view(architecture.name).starts_with("gemma"))
      set_number("rope.freq_base_swa", 12);
    // What the family has a place for; others refuse the key.
    for (const auto& [name, value] : {std::pair<const char*, double>{"attn_logit_softcapping", 2},
                                      {"final_logit_softcapping", 3},
                                      {"attention.scale", 0.4},
                                      {"attention.temperature_scale", 0.3},
                                      {"embedding_scale", 1.5},
                                      {"residual_scale", 0.6},
                                      {"logit_scale", 0.7}}) {
      set_number(name, value);
      try {
        config_of_keys(Gguf::of_values("keys", keys_), n_vocab_);
      } catch (const Error&) {
        keys_.pop_back();
      }
    }
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
    if (norm.tensor.empty()) return;
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
  std::vector<std::pair<std::string, GgufValue>> keys_;
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
