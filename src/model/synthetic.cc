#include "model/synthetic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include "base/ascii.h"
#include "base/error.h"
#include "base/machine.h"
#include "base/numbers.h"
#include "base/random.h"
#include "model/build.h"
#include "model/synthetic_blocks.h"
#include "quant/choice.h"

namespace lora {
namespace {

constexpr SyntheticShape kShapes[] = {
    // TinyLlama 1.1B, OpenLLaMA 3B, Llama 2 7B and 13B, Llama 3.1 8B (their config.json).
    {"llama-1b", 22, 2048, 5632, 32, 4, 32000, 2048, 10000},
    {"llama-3b", 26, 3200, 8640, 32, 32, 32000, 2048, 10000},
    {"llama-7b", 32, 4096, 11008, 32, 32, 32000, 4096, 10000},
    {"llama-8b", 32, 4096, 14336, 32, 8, 128256, 131072, 500000},
    {"llama-13b", 40, 5120, 13824, 40, 40, 32000, 4096, 10000},
    // Qwen2.5 7B, Qwen3 4B, Gemma 2 2B, Gemma 3 4B, Phi-4-mini, StarCoder2 3B, Command R7B.
    {"qwen2.5-7b", 28, 3584, 18944, 28, 4, 152064, 32768, 1e6, "qwen2"},
    {"qwen3-4b", 36, 2560, 9728, 32, 8, 151936, 40960, 1e6, "qwen3", 128},
    {"gemma2-2b", 26, 2304, 9216, 8, 4, 256000, 8192, 10000, "gemma2", 256},
    {"gemma3-4b", 34, 2560, 10240, 8, 4, 262208, 131072, 1e6, "gemma3", 256},
    // Gemma 4 E2B: the last twenty layers, with MLPs twice as wide, share keys and values.
    {"gemma4-e2b",
     35,
     1536,
     6144,
     8,
     1,
     262144,
     131072,
     1e6,
     "gemma4",
     512,
     {{"attention.sliding_window", 512},
      {"attention.sliding_window_pattern", 5},
      {"attention.key_length_swa", 256},
      {"embedding_length_per_layer_input", 256}},
     {},
     {15, 12288}},
    {"phi4-mini", 32, 3072, 8192, 24, 8, 200064, 131072, 10000, "phi3", 128, {{"rope.dimension_count", 96}}},
    {"starcoder2-3b", 30, 3072, 12288, 24, 2, 49152, 16384, 999999, "starcoder2"},
    // Qwen3 30B-A3B, gpt-oss 20B, Mixtral 8x7B: mixtures.
    {"qwen3-30b-a3b",
     48,
     2048,
     6144,
     32,
     4,
     151936,
     40960,
     1e6,
     "qwen3moe",
     128,
     {{"expert_count", 128}, {"expert_used_count", 8}, {"expert_feed_forward_length", 768}}},
    {"gpt-oss-20b",
     24,
     2880,
     2880,
     64,
     8,
     201088,
     131072,
     150000,
     "gpt-oss",
     64,
     {{"expert_count", 32},
      {"expert_used_count", 4},
      {"expert_feed_forward_length", 2880},
      {"attention.sliding_window", 128}}},
    {"mixtral-8x7b",
     32,
     4096,
     14336,
     32,
     8,
     32000,
     32768,
     1e6,
     "llama",
     0,
     {{"expert_count", 8}, {"expert_used_count", 2}}},
    // LFM2 2.6B: attention in few layers, short convolutions in the others.
    {"lfm2-2.6b",
     30,
     2048,
     10752,
     32,
     8,
     65536,
     128000,
     1e6,
     "lfm2",
     0,
     {{"shortconv.l_cache", 3}},
     "--a--a---a---a---a---a---a--a-"},
    // Gated delta nets.
    {"qwen3.5-4b",
     32,
     2560,
     9216,
     16,
     4,
     248320,
     262144,
     1e7,
     "qwen35",
     256,
     {{"ssm.conv_kernel", 4},
      {"ssm.state_size", 128},
      {"ssm.group_count", 16},
      {"ssm.time_step_rank", 32},
      {"ssm.inner_size", 4096},
      {"rope.dimension_count", 64}}},
    // Granite 4 H Tiny: Mamba-2 in all but four layers, experts and a shared MLP in each.
    {"granite-4-h-tiny",
     40,
     1536,
     512,
     12,
     4,
     100352,
     131072,
     10000,
     "granitehybrid",
     128,
     {{"expert_count", 64},
      {"expert_used_count", 6},
      {"expert_shared_feed_forward_length", 1024},
      {"ssm.conv_kernel", 4},
      {"ssm.inner_size", 3072},
      {"ssm.state_size", 128},
      {"ssm.time_step_rank", 48},
      {"ssm.group_count", 1}},
     "-----a----"},
    {"command-r7b", 32, 4096, 14336, 32, 8, 256000, 8192, 50000, "cohere2"},
    // DeepSeek V2-Lite: attention over latents.
    {"deepseek-v2-lite",
     27,
     2048,
     10944,
     16,
     1,
     102400,
     163840,
     10000,
     "deepseek2",
     576,
     {{"attention.kv_lora_rank", 512},
      {"attention.key_length_mla", 192},
      {"attention.value_length_mla", 128},
      {"rope.dimension_count", 64},
      {"expert_count", 64},
      {"expert_used_count", 6},
      {"expert_feed_forward_length", 1408},
      {"expert_shared_count", 2},
      {"leading_dense_block_count", 1}}},
};

constexpr float kDeviation = 0.02f;

// llama.cpp's Q4_K_M: six bits for the output, and for values and down-projections in some layers.
struct Mix {
  Type all;
  bool is_q4_k_m;

  // `tensor`: its whole name.
  Type of(std::string_view tensor, int64_t n_layer) const {
    if (tensor.ends_with(".ffn_gate_inp.weight")) return Type::F32;
    if (tensor == "per_layer_model_proj.weight") return Type::BF16;  // as its files have it
    if (!is_q4_k_m) return all;
    if (tensor == "output.weight") return Type::Q6_K;
    if (!tensor.ends_with(".attn_v.weight") && !tensor.ends_with(".ffn_down.weight") &&
        !tensor.ends_with(".ffn_down_exps.weight"))
      return all;
    tensor.remove_prefix(std::string_view("blk.").size());
    return has_more_bits(take_number<int64_t>(tensor).value_or(0), n_layer) ? Type::Q6_K : all;
  }
};

Mix find_mix(std::string_view name) {
  constexpr std::string_view mix = "Q4_K_M";
  if (equal_in_any_case(mix, name)) return {Type::Q4_K, true};
  const TypeTraits* found = find_type(name);
  if (found && found->decode) return {found->type, false};
  std::string known;
  for (const TypeTraits& t : all_types()) {
    if (t.decode) known += fmt::format("{}, ", t.name);
  }
  fail("type {}: unknown (known: {}{})", name, known, mix);
}

int64_t bytes_of(const MatrixView& w) {
  return (w.n_rows * w.row_bytes() + 63) / 64 * 64;
}

// Tensors without data: every matrix there is, of the type that it is to have; every vector is ones.
class Shapes : public TensorSource {
 public:
  Shapes(const Mix& mix, int64_t n_layer, std::vector<std::string>& replaced)
      : mix_(mix), n_layer_(n_layer), replaced_(replaced) {}

  bool has(const std::string&) const override { return true; }

  MatrixView matrix(const std::string& name, int64_t n_out, int64_t n_in, int64_t n_slices) override {
    const Type wanted = mix_.of(name, n_layer_), type = type_for_rows(wanted, n_in);
    const std::string line =
        fmt::format("{} in place of {} (rows of {})", traits(type).name, traits(wanted).name, n_in);
    if (type != wanted && std::ranges::find(replaced_, line) == replaced_.end()) replaced_.push_back(line);
    return {type, nullptr, n_out * n_slices, n_in};
  }

  std::optional<Buffer<float>> vector(const std::string& name, int64_t n, bool required,
                                      int64_t n_slices) override {
    if (!required) return std::nullopt;
    Buffer<float> values(n * n_slices);
    // States fade.
    std::ranges::fill(values.span(), name.ends_with(".bias")    ? 0.0f
                                     : name.ends_with(".ssm_a") ? -1.0f
                                                                : 1.0f);
    return values;
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& why) const override {
    fail("tensor {}: {}", name, why);
  }

 private:
  const Mix& mix_;
  int64_t n_layer_;
  std::vector<std::string>& replaced_;
};

// Each row is copied from a random place among a million bytes of blocks: as fast as memory is written.
class Filler {
 public:
  explicit Filler(ThreadPool& pool) : pool_(pool) {}

  void fill(std::byte* data, const MatrixView& w, uint64_t stream) {
    const TypeTraits& t = traits(w.type);
    auto& blocks = blocks_[w.type];
    const int64_t in_row = w.n_cols / t.block_size, n_blocks = (1 << 20) / t.block_bytes + in_row;
    if (int64_t(blocks.size()) < n_blocks * t.block_bytes) {
      blocks = random_blocks(w.type, n_blocks * t.block_size, kDeviation);
    }
    const uint64_t places = blocks.size() / size_t(t.block_bytes) - size_t(in_row) + 1;
    pool_.for_range(w.n_rows, 64, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const uint64_t place = random_bits(1, Purpose::bench, stream, uint64_t(row)) % places;
        std::memcpy(data + row * w.row_bytes(), &blocks[place * size_t(t.block_bytes)],
                    size_t(w.row_bytes()));
      }
    });
  }

 private:
  ThreadPool& pool_;
  std::map<Type, std::vector<std::byte>> blocks_;
};

}  // namespace

std::span<const SyntheticShape> synthetic_shapes() {
  return kShapes;
}

const SyntheticShape& find_synthetic_shape(std::string_view name) {
  const auto* found = std::ranges::find(kShapes, name, &SyntheticShape::name);
  if (found != std::end(kShapes)) return *found;
  std::string known;
  for (const SyntheticShape& shape : kShapes)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", shape.name);
  fail("synthetic model {}: unknown (known: {})", name, known);
}

std::vector<std::pair<std::string, GgufValue>> synthetic_keys(const SyntheticShape& shape) {
  std::vector<std::pair<std::string, GgufValue>> keys;
  const auto add = [&](std::string_view name, auto value, GgufValueType type) {
    keys.emplace_back(fmt::format("{}.{}", shape.architecture, name), GgufValue{type, {}, value});
  };
  const auto add_size = [&](std::string_view name, int64_t n) { add(name, uint64_t(n), GgufValueType::u32); };
  keys.emplace_back("general.architecture",
                    GgufValue{GgufValueType::string, {}, std::string(shape.architecture)});
  add_size("block_count", shape.n_layer);
  add_size("embedding_length", shape.n_embd);
  if (shape.own_kv.n_layer == 0) {
    add_size("feed_forward_length", shape.n_ff);
  } else {
    std::vector<int64_t> of_layers;
    for (int64_t i = 0; i < shape.n_layer; ++i)
      of_layers.push_back(i < shape.own_kv.n_layer ? shape.n_ff : shape.own_kv.n_ff);
    keys.emplace_back(fmt::format("{}.feed_forward_length", shape.architecture),
                      GgufValue{GgufValueType::array, GgufValueType::i32, of_layers});
    add_size("attention.shared_kv_layers", std::max<int64_t>(0, shape.n_layer - shape.own_kv.n_layer));
  }
  add_size("attention.head_count", shape.n_head);
  if (shape.attention.empty()) {
    add_size("attention.head_count_kv", shape.n_head_kv);
  } else {
    std::vector<int64_t> of_layers;
    for (int64_t i = 0; i < shape.n_layer; ++i)
      of_layers.push_back(shape.attention[size_t(i) % shape.attention.size()] == 'a' ? shape.n_head_kv : 0);
    keys.emplace_back(fmt::format("{}.attention.head_count_kv", shape.architecture),
                      GgufValue{GgufValueType::array, GgufValueType::i32, of_layers});
  }
  add_size("context_length", shape.n_ctx_train);
  if (shape.head_dim > 0) add_size("attention.key_length", shape.head_dim);
  if (shape.head_dim > 0) add_size("attention.value_length", shape.head_dim);
  for (const SyntheticShape::Key& key : shape.keys) {
    if (!key.name.empty()) add_size(key.name, key.value);
  }
  add("rope.freq_base", shape.rope_freq_base, GgufValueType::f32);
  add(norm_eps_key(*find_architecture(shape.architecture)), 1e-5, GgufValueType::f32);
  return keys;
}

SyntheticModel make_synthetic(const SyntheticShape& shape, std::string_view type, ThreadPool& pool) {
  const Mix mix = find_mix(type);
  SyntheticModel result;
  Model& model = result.model;
  // As a file with these keys gives it, so that a family's own options are as it reads them.
  model.config =
      config_of_keys(Gguf::of_values(std::string(shape.name), synthetic_keys(shape)), shape.n_vocab);
  const ModelConfig& config = model.config;

  Shapes shapes(mix, config.n_layer, result.replaced);
  build_model(model, false, shapes);

  std::vector<MatrixView*> views = {&model.embedding.table};
  for (Layer& layer : model.layers) {
    for_each_weight(layer, [&](MatrixView& w) { views.push_back(&w); });
  }
  views.push_back(&model.output.w);
  std::vector<PerLayerInput*> inputs;  // the table is all layers' together
  for (Layer& layer : model.layers) {
    for (Branch& branch : layer.branches) {
      for (Body& body : branch.bodies) {
        if (auto* input = std::get_if<PerLayerInput>(&body)) inputs.push_back(input);
      }
    }
  }
  for (PerLayerInput* input : inputs) views.push_back(&input->model.w);
  if (!inputs.empty()) views.push_back(&inputs.front()->table);
  int64_t bytes = 0;
  for (const MatrixView* view : views) bytes += bytes_of(*view);
  expect_memory(fmt::format("the weights of {}", shape.name), uint64_t(bytes), "fewer --layers need less");
  result.storage = Buffer<std::byte>(bytes);
  std::byte* at = result.storage.data();
  Filler filler(pool);
  for (MatrixView* view : views) {
    filler.fill(at, *view, uint64_t(at - result.storage.data()));
    view->data = at;
    at += bytes_of(*view);
  }
  for (PerLayerInput* input : inputs) input->table = inputs.front()->table;
  return result;
}

}  // namespace lora
