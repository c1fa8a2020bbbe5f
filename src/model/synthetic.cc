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
};

constexpr float kDeviation = 0.02f;

// llama.cpp's Q4_K_M: six bits for the output, and for values and down-projections in some layers.
struct Mix {
  Type all;
  bool is_q4_k_m;

  // `tensor`: its whole name.
  Type of(std::string_view tensor, int64_t n_layer) const {
    if (!is_q4_k_m) return all;
    if (tensor == "output.weight") return Type::Q6_K;
    if (!tensor.ends_with(".attn_v.weight") && !tensor.ends_with(".ffn_down.weight")) return all;
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

ModelConfig config_of(const SyntheticShape& shape) {
  ModelConfig config;
  config.architecture = find_architecture("llama");
  config.n_layer = shape.n_layer;
  config.n_embd = shape.n_embd;
  config.n_ff = shape.n_ff;
  config.n_vocab = shape.n_vocab;
  config.n_head = shape.n_head;
  config.n_head_kv = shape.n_head_kv;
  config.head_dim = shape.n_embd / shape.n_head;
  config.n_ctx_train = shape.n_ctx_train;
  config.attention_scale = float(1 / std::sqrt(double(config.head_dim)));
  config.rope = {.n_rot = config.head_dim, .freq_base = shape.rope_freq_base};
  return config;
}

int64_t bytes_of(const MatrixView& w) {
  return (w.n_rows * w.row_bytes() + 63) / 64 * 64;
}

// Tensors without data: every matrix there is, of the type that it is to have; every vector is ones.
class Shapes : public TensorSource {
 public:
  Shapes(const Mix& mix, int64_t n_layer, std::vector<std::string>& replaced)
      : mix_(mix), n_layer_(n_layer), replaced_(replaced) {}

  MatrixView matrix(const std::string& name, int64_t n_out, int64_t n_in) override {
    const Type wanted = mix_.of(name, n_layer_), type = type_for_rows(wanted, n_in);
    const std::string line =
        fmt::format("{} in place of {} (rows of {})", traits(type).name, traits(wanted).name, n_in);
    if (type != wanted && std::ranges::find(replaced_, line) == replaced_.end()) replaced_.push_back(line);
    return {type, nullptr, n_out, n_in};
  }

  std::optional<Buffer<float>> vector(const std::string& name, int64_t n) override {
    if (name.ends_with(".bias")) return std::nullopt;
    Buffer<float> ones(n);
    std::ranges::fill(ones.span(), 1.0f);
    return ones;
  }

  [[noreturn]] void missing(const std::string& name) override { fail("synthetic model: {}: missing", name); }

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

SyntheticModel make_synthetic(const SyntheticShape& shape, std::string_view type, ThreadPool& pool) {
  const Mix mix = find_mix(type);
  SyntheticModel result;
  Model& model = result.model;
  model.config = config_of(shape);
  const ModelConfig& config = model.config;

  Shapes shapes(mix, config.n_layer, result.replaced);
  model.embedding.table = shapes.matrix("token_embd.weight", config.n_vocab, config.n_embd);
  model.embedding.factor = config.embedding_scale;
  for (int64_t i = 0; i < config.n_layer; ++i) {
    model.layers.push_back(
        build_layer(config.architecture->layer(config, i), i, config, shapes, model.biases));
  }
  model.output_norm =
      build_norm({"output_norm", config.architecture->norm, config.n_embd}, "", config.norm_eps, shapes);
  model.output = build_linear({"output", config.n_vocab, config.n_embd}, "", config.n_vocab, shapes, model.biases);

  std::vector<MatrixView*> views = {&model.embedding.table};
  for (Layer& layer : model.layers) {
    for_each_linear(layer, [&](Linear& linear, LinearRole) { views.push_back(&linear.w); });
  }
  views.push_back(&model.output.w);
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
  return result;
}

}  // namespace lora
