// A tiny model of each family, written to a file from the family's own specification: random numbers in the
// tensors that its layers name, keys that make all of its options matter.
#pragma once

#include <cmath>
#include <filesystem>
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
  bool experts = false;  // in families that do not always have them
  bool older = false;    // as older files have it, where that differs: attention over latents with one matrix
                         // for keys and values, and queries made at once
  uint64_t seed = 5;
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
    has_delta_net_ = config.delta_net.d_conv > 0;
    for (const auto& [key, value] : keys_) writer_.set(key, value);
    add_matrix("token_embd", n_vocab_, config.n_embd, 1);
    if (config.has_position_table) add_matrix("position_embd", config.n_ctx_train, config.n_embd, 1);
    for (int64_t i = 0; i < config.n_layer; ++i) add_layer(config.architecture->layer(config, i), i);
    add_norm(norm(config, architecture.output_norm), "");
    if (config.needs_rope_freqs) add_vector("rope_freqs.weight", config.rope.n_rot / 2, 1, 0.5f);
    if (const int64_t n = config.n_layer * config.n_embd_per_layer; n > 0) {
      add_matrix("per_layer_token_embd", n_vocab_, n, 1);
      add_matrix("per_layer_model_proj", n, config.n_embd, 2 / std::sqrt(float(n_embd_)));
      add_vector("per_layer_proj_norm.weight", config.n_embd_per_layer, 1, 0.5f);
    }
    // What llama.cpp wants: these have no output matrix, and one a bias of it.
    const std::set<std::string_view> tied = {"cohere2", "command-r", "gemma", "gemma2"};
    if (!tied.contains(architecture.name))
      add_matrix("output", n_vocab_, config.n_embd, 2 / std::sqrt(float(n_embd_)));
    if (architecture.name == "phi2") add_vector("output.bias", n_vocab_, 0, 0.3f);
    std::filesystem::remove(
        path);  // in tests' folders a link to the bundled model, which is not to be written through
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
    // llama.cpp takes a row of keys to be as long as one of queries.
    const bool norms_whole_rows =
        options_.for_llama_cpp && (architecture.name == "olmoe" || architecture.name == "dots1");
    const bool has_latents = architecture.name == "deepseek2";
    for (const auto& [name, value] : {std::pair<const char*, int64_t>{"block_count", n_layer_},
                                      {"embedding_length", n_embd_},
                                      {"feed_forward_length", n_ff_},
                                      {"attention.head_count", kHeads},
                                      {"attention.head_count_kv", norms_whole_rows ? kHeads : 2},
                                      {"attention.key_length", head_dim_},
                                      {"attention.value_length", head_dim_},
                                      {"context_length", 512},
                                      {"shortconv.l_cache", 4},
                                      {"vocab_size", n_vocab_},
                                      {"rope.dimension_count", head_dim_ - (options_.for_llama_cpp ? 0 : 4)},
                                      {"rope.scaling.original_context_length", 4}}) {
      const std::string_view key(name);
      const bool is_of_heads = key == "attention.head_count_kv" || key == "attention.key_length" ||
                               key == "attention.value_length" || key == "rope.dimension_count";
      if (!has_latents || !is_of_heads) set_size(name, value);
    }
    if (has_latents) set_latents();
    if (architecture.name.starts_with("qwen35") || architecture.name == "qwen3next") {
      const bool is_odd = options_.type == Type::F32 && !options_.for_llama_cpp;
      const int64_t n_v = is_odd ? 6 : 4, dim_k = is_odd ? 10 : 16, dim_v = is_odd ? 7 : 16;
      for (const auto& [name, value] : {std::pair<const char*, int64_t>{"ssm.conv_kernel", is_odd ? 3 : 4},
                                        {"ssm.state_size", dim_k},
                                        {"ssm.group_count", 2},
                                        {"ssm.time_step_rank", n_v},
                                        {"ssm.inner_size", n_v * dim_v},
                                        {"full_attention_interval", 3}}) {
        set_size(name, value);
      }
      keys_.emplace_back(
          prefix_ + "rope.dimension_sections",
          GgufValue{GgufValueType::array, GgufValueType::i32, std::vector<int64_t>{3, 2, 0, 0}});
    }
    // Layers without heads of keys have convolutions.
    if (architecture.name.starts_with("lfm2")) {
      std::vector<int64_t> of_layers;
      for (int64_t i = 0; i < n_layer_; ++i) of_layers.push_back(i % 2 == 0 ? 0 : 2);
      std::erase_if(keys_, [](const auto& key) { return key.first.ends_with(".head_count_kv"); });
      keys_.emplace_back(prefix_ + "attention.head_count_kv",
                         GgufValue{GgufValueType::array, GgufValueType::i32, of_layers});
    }
    set_mamba2(architecture);
    if (architecture.name == "gptneox") writer_.set_bool(prefix_ + "use_parallel_residual", true);
    if (architecture.name == "gemma4") set_layers_of_two_kinds();
    set_number(norm_eps_key(architecture), 1e-3);
    set_number("rope.freq_base", 30);
    // llama.cpp leaves Phi-3's window out, gives EXAONE 4 one where it has 64 layers, and knows a rotary base
    // of windowed layers in Gemma only.
    const std::set<std::string_view> differs = {"phi3", "exaone4"};
    const bool refuses = std::string_view(architecture.name).starts_with("lfm2");
    if (!refuses && (!options_.for_llama_cpp || !differs.contains(architecture.name)))
      set_size("attention.sliding_window", 5);
    if (!options_.for_llama_cpp || std::string_view(architecture.name).starts_with("gemma"))
      set_number("rope.freq_base_swa", 12);
    if (options_.experts || !is_whole()) set_experts(architecture);
    // What the family has a place for; others refuse the key.
    for (const auto& [name, value] : {std::pair<const char*, double>{"attention.clamp_kqv", 0.8},
                                      {"attn_logit_softcapping", 2},
                                      {"final_logit_softcapping", 3},
                                      {"attention.scale", 0.4},
                                      {"attention.temperature_scale", 0.3},
                                      {"embedding_scale", 1.5},
                                      {"residual_scale", 0.6},
                                      {"logit_scale", 0.7}}) {
      set_number(name, value);
      if (!is_whole()) keys_.pop_back();
    }
    keys_.emplace_back(prefix_ + "use_parallel_residual", GgufValue{GgufValueType::boolean, {}, true});
    if (!is_whole()) keys_.pop_back();
  }

  // Gemma 4's: with windows and without, of which the last of each kind attends to what an earlier one has.
  void set_layers_of_two_kinds() {
    const auto set = [&](const char* name, GgufValueType type, auto values) {
      std::erase_if(keys_, [&](const auto& key) { return key.first == prefix_ + name; });
      keys_.emplace_back(prefix_ + name, GgufValue{GgufValueType::array, type, std::move(values)});
    };
    // llama.cpp takes it that the last layers with keys of their own are a windowed one and a full one.
    using Kinds = std::vector<uint64_t>;
    const Kinds windowed = options_.for_llama_cpp ? Kinds{1, 1, 0, 0, 1} : Kinds{1, 0, 1, 0, 1};
    std::vector<int64_t> n_head_kv;
    for (const uint64_t is_windowed : windowed) n_head_kv.push_back(is_windowed ? 2 : 1);
    set("attention.sliding_window_pattern", GgufValueType::boolean, windowed);
    set("attention.head_count_kv", GgufValueType::i32, n_head_kv);
    set("feed_forward_length", GgufValueType::i32,
        std::vector<int64_t>{n_ff_, n_ff_, n_ff_, 2 * n_ff_, 2 * n_ff_});
    set_size("attention.shared_kv_layers", 2);
    const int64_t windowed_dim = options_.type == Type::F32 ? 10 : 16;
    set_size("attention.key_length_swa", windowed_dim);
    set_size("attention.value_length_swa", windowed_dim);
    set_size("rope.dimension_count_swa", windowed_dim);
    set_size("embedding_length_per_layer_input", options_.type == Type::F32 ? 6 : 32);
  }

  // Layers of Mamba-2: between those with attention, beside it, alone, or as one thing of three.
  void set_mamba2(const Architecture& architecture) {
    const std::string_view name = architecture.name;
    const auto of_layers = [&](std::string_view key, std::vector<int64_t> values) {
      const std::string whole = prefix_ + std::string(key);
      std::erase_if(keys_, [&](const auto& old) { return old.first == whole; });
      if (!values.empty())
        keys_.emplace_back(whole, GgufValue{GgufValueType::array, GgufValueType::i32, std::move(values)});
    };
    if (name != "granitehybrid" && name != "falcon-h1" && name != "mamba2" && name != "nemotron_h") return;
    const bool is_quantized = options_.type != Type::F32;
    set_size("ssm.conv_kernel", 4);
    set_size("ssm.time_step_rank", kHeads);
    set_size("ssm.inner_size", kHeads * (is_quantized ? 16 : 10));
    set_size("ssm.group_count", 3);
    set_size("ssm.state_size", is_quantized ? 8 : 7);
    if (name == "granitehybrid") of_layers("attention.head_count_kv", {0, 2, 0, 2, 0});
    if (name == "nemotron_h") {
      of_layers("attention.head_count_kv", {0, 2, 0, 0, 2});
      of_layers("feed_forward_length", {0, 0, n_ff_, 0, 0});
    }
    if (name != "mamba2") return;
    for (const char* key : {"attention.key_length", "attention.value_length", "rope.dimension_count",
                            "attention.head_count_kv", "attention.head_count", "feed_forward_length"})
      of_layers(key, {});
    set_size("attention.head_count", 0);
    set_size("feed_forward_length", 0);
  }

  bool is_whole() const {
    try {
      config_of_keys(Gguf::of_values("keys", keys_), n_vocab_);
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  void set_latents() {
    const bool in_blocks = options_.type != Type::F32;
    const int64_t kv_rank = in_blocks ? 32 : 22, n_rope = in_blocks ? 32 : 6,
                  key_dim = n_rope + (in_blocks ? 32 : 9), value_dim = in_blocks ? 16 : 9;
    set_size("rope.dimension_count", n_rope);
    set_size("attention.kv_lora_rank", kv_rank);
    if (!options_.experts) {  // llama.cpp wants to be told
      set_size("leading_dense_block_count", n_layer_);
      set_size("expert_feed_forward_length", n_ff_);
      set_size("expert_shared_count", 0);
    }
    if (options_.older) {
      set_size("attention.head_count_kv", kHeads);
      set_size("attention.key_length", key_dim);
      set_size("attention.value_length", value_dim);
      return;
    }
    set_size("attention.q_lora_rank", in_blocks ? 32 : 19);
    set_size("attention.head_count_kv", 1);
    set_size("attention.key_length", kv_rank + n_rope);
    set_size("attention.value_length", kv_rank);
    set_size("attention.key_length_mla", key_dim);
    set_size("attention.value_length_mla", value_dim);
  }

  void set_experts(const Architecture& architecture) {
    using Names = std::set<std::string_view>;
    const std::string_view name = architecture.name;
    const int64_t n_ff = options_.type == Type::F32 ? 20 : 32;
    set_size("expert_count", 6);
    set_size("expert_used_count", 3);
    // What llama.cpp reads: a size of experts in all but these families; dense layers in front, and how many
    // shared experts there are, in some; their size in others.
    if (!options_.for_llama_cpp || !Names{"granitemoe", "llama", "olmoe"}.contains(name))
      set_size("expert_feed_forward_length", name == "hunyuan-moe" ? n_ff_ : n_ff);
    const bool by_count = Names{"bailingmoe", "deepseek2", "dots1", "ernie4_5-moe", "glm4moe"}.contains(name);
    const bool by_size =
        Names{"ernie4_5-moe", "granitemoe", "hunyuan-moe", "qwen2moe", "qwen35moe", "qwen3next"}.contains(
            name);
    if (by_count) {
      set_size("leading_dense_block_count", name == "bailingmoe" ? 0 : 1);
      set_size("expert_shared_count", 1);
      set_number("expert_weights_scale", name == "ernie4_5-moe" ? 1 : 1.5);
      keys_.emplace_back(prefix_ + "expert_weights_norm", GgufValue{GgufValueType::boolean, {}, true});
    }
    if (by_size || (!by_count && !options_.for_llama_cpp))
      set_size("expert_shared_feed_forward_length", n_ff + (n_ff % 32 == 0 ? 32 : 12));
    if (name == "dots1") set_size("expert_gating_func", 2);
    if (name == "deepseek2") {
      set_size("expert_group_count", 3);
      set_size("expert_group_used_count", 2);
      set_size("expert_gating_func", options_.older ? 1 : 2);
    }
    if (name == "lfm2moe") set_size("leading_dense_block_count", 1);
    if (name == "lfm2moe" && !options_.for_llama_cpp) set_number("expert_weights_scale", 1.5);
    if (name == "ernie4_5-moe") set_size("interleave_moe_layer_step", options_.for_llama_cpp ? 1 : 2);
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
      // What layers may do without they have or lack all together: with experts they lack it, but for
      // factors.
      bool is_left_out(std::string_view tensor, bool may_be_absent) const {
        const bool is_scale = tensor.find("scale") != tensor.npos;
        return may_be_absent && !is_scale &&
               (tensor == "ssm_norm.weight" || self.prefix_ == "mamba2." || self.options_.experts);
      }
      void operator()(const VectorSpec& vector) const {
        if (is_left_out(vector.tensor, vector.may_be_absent)) return;
        const bool fades = vector.tensor == "ssm_a";  // states do
        if (vector.tensor.find("scale") != vector.tensor.npos)
          return self.add_vector(prefix + std::string(vector.tensor), vector.n, 1, 0.3f);
        // Where a convolution is all of a body, it is as loud as other bodies are.
        const bool is_loud = vector.tensor == "shortconv.conv.weight";
        // In delta nets by less: two experts of one of the models would be all but equal otherwise.
        const float fading = self.has_delta_net_ ? -0.5f : -1.0f;
        self.add_vector(prefix + std::string(vector.tensor), vector.n, fades ? fading : 0,
                        fades     ? -0.8f * fading
                        : is_loud ? 1.0f
                                  : 0.3f,
                        vector.n_rows);
      }
      void operator()(const LinearSpec& part) const {
        if (is_left_out(part.tensor, part.may_be_absent)) return;
        LinearSpec& all = whole[part.tensor];
        all.n_in = part.n_in;
        all.n_out = std::max(all.n_out, part.first_row + part.n_out);
        all.has_bias |= part.has_bias;
        all.n_slices = part.n_slices;
      }
    };
    for_each_part(layer, Visit{*this, whole, prefix});
    for (const auto& [tensor, spec] : whole) {
      add_matrix(prefix + std::string(tensor), spec.n_out, spec.n_in, 2 / std::sqrt(float(spec.n_in)),
                 spec.n_slices);
      if (spec.has_bias)
        add_vector(prefix + std::string(tensor) + ".bias", spec.n_out, 0, 0.3f, spec.n_slices);
    }
  }

  void add_norm(const NormSpec& norm, const std::string& prefix) {
    if (norm.tensor.empty()) return;
    // llama.cpp has one of Falcon-H1's without an ending.
    const bool is_bare = options_.for_llama_cpp && norm.tensor == "ffn_norm" && prefix_ == "falcon-h1.";
    add_vector(prefix + std::string(norm.tensor) + (is_bare ? "" : ".weight"), norm.n, 1, 0.5f);
    if (norm.has_bias) add_vector(prefix + std::string(norm.tensor) + ".bias", norm.n, 0, 0.3f);
  }

  std::vector<float>& random(const std::string& name, int64_t n, float center, float size) {
    std::vector<float>& values = stored_.emplace_back(size_t(n));
    for (int64_t i = 0; i < n; ++i) {
      const double u = random_uniform(options_.seed, Purpose::test, stream_id(name), uint64_t(i));
      values[size_t(i)] = float(double(center) + double(size) * (2 * u - 1));
    }
    return values;
  }

  void add_vector(const std::string& name, int64_t n, float center, float size, int64_t n_slices = 1) {
    std::vector<int64_t> ne = {n};
    if (n_slices > 1) ne.push_back(n_slices);
    writer_.add_tensor(name, Type::F32, ne,
                       std::as_bytes(std::span(random(name, n * n_slices, center, size))));
  }

  void add_matrix(const std::string& name, int64_t n_out, int64_t n_in, float size, int64_t n_slices = 1) {
    const int64_t n = n_out * n_in * n_slices;
    const std::vector<float>& values = random(name, n, 0, size);
    const TypeTraits& t = traits(options_.type);
    std::vector<std::byte>& bytes = encoded_.emplace_back(size_t(n / t.block_size * t.block_bytes));
    t.encode(bytes.data(), values.data(), n, nullptr);
    writer_.add_tensor(name + ".weight", options_.type, lora_ne(n_in, n_out, n_slices), bytes);
  }

  static constexpr int64_t kHeads = 6;

  std::string prefix_;
  TinyOptions options_;
  bool has_delta_net_ = false;
  int64_t n_embd_ = 36, n_ff_ = 44, n_vocab_ = kTinyVocab, n_layer_ = 5, head_dim_ = 14;
  std::vector<std::pair<std::string, GgufValue>> keys_;
  GgufWriter writer_;
  std::list<std::vector<float>> stored_;
  std::list<std::vector<std::byte>> encoded_;
};

// Whether models of the family may be mixtures, but need not.
inline bool may_have_experts(const Architecture& architecture) {
  const auto n_experts = [&](int64_t n) {
    std::vector<std::pair<std::string, GgufValue>> keys;
    const std::string name(architecture.name);
    keys.emplace_back("general.architecture", GgufValue{GgufValueType::string, {}, name});
    keys.emplace_back(name + "." + std::string(norm_eps_key(architecture)),
                      GgufValue{GgufValueType::f32, {}, 1e-5});
    for (const auto& [key, value] : {std::pair<const char*, uint64_t>{"block_count", 2},
                                     {"embedding_length", 64},
                                     {"feed_forward_length", 64},
                                     {"attention.head_count", 4},
                                     {"context_length", 64},
                                     {"ssm.conv_kernel", 4},
                                     {"ssm.time_step_rank", 4},
                                     {"ssm.inner_size", 16},
                                     {"ssm.state_size", 8},
                                     {"attention.kv_lora_rank", 16},
                                     {"rope.dimension_count", 8},
                                     {"expert_count", uint64_t(n)},
                                     {"expert_used_count", 2}}) {
      keys.emplace_back(name + "." + key, GgufValue{GgufValueType::u32, {}, value});
    }
    try {
      return config_of_keys(Gguf::of_values("keys", keys), 300).experts.router.n_expert;
    } catch (const Error&) {
      return int64_t{-1};
    }
  };
  return n_experts(0) == 0 && n_experts(4) == 4;
}

// A pair on every linear layer of every block, and with `ends` on the embedding and the output; B is not
// zero.
inline LoraParameters all_pairs(const Model& model, bool ends = true) {
  std::vector<LoraParameters::Pair> pairs;
  const auto add = [&](const std::string& tensor, int64_t n_in, int64_t n_out, int64_t n_slices = 1) {
    pairs.push_back({tensor, n_in, n_out, int64_t(1 + pairs.size() % 3), 0, 0, n_slices});
  };
  for (int64_t i = 0; i < model.config.n_layer; ++i) {
    for (const std::string_view name : block_tensors(model)) {
      const std::string tensor = fmt::format("blk.{}.{}.weight", i, name);
      int64_t n_in = 0, n_out = 0, n_slices = 1;
      for (const Linear* linear : model.find_linears(tensor)) {
        n_in = linear->n_in();
        n_slices = linear->n_slices;
        if (linear->slice == 0) n_out += linear->n_out();
      }
      if (n_out > 0) add(tensor, n_in, n_out, n_slices);
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
