#include "model/synthetic.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/ascii.h"
#include "base/error.h"
#include "base/machine.h"
#include "base/random.h"
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

  Type of_layer(std::string_view tensor, int64_t layer, int64_t n_layer) const {
    const bool may_have_more = tensor == "attn_v" || tensor == "ffn_down";
    return is_q4_k_m && may_have_more && has_more_bits(layer, n_layer) ? Type::Q6_K : all;
  }
  Type of_output() const { return is_q4_k_m ? Type::Q6_K : all; }
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
  config.architecture = &kLlama;
  config.n_layer = shape.n_layer;
  config.n_embd = shape.n_embd;
  config.n_ff = shape.n_ff;
  config.n_vocab = shape.n_vocab;
  config.n_head = shape.n_head;
  config.n_head_kv = shape.n_head_kv;
  config.head_dim = shape.n_embd / shape.n_head;
  config.n_ctx_train = shape.n_ctx_train;
  config.rope = {.n_rot = config.head_dim, .freq_base = shape.rope_freq_base};
  return config;
}

Buffer<float> ones(int64_t n) {
  Buffer<float> result(n);
  std::fill(result.data(), result.data() + n, 1.0f);
  return result;
}

int64_t bytes_of(const MatrixView& w) {
  return (w.n_rows * w.row_bytes() + 63) / 64 * 64;
}

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

  std::vector<MatrixView*> views;
  const auto add = [&](MatrixView& view, Type wanted, int64_t n_out, int64_t n_in) {
    view = {type_for_rows(wanted, n_in), nullptr, n_out, n_in};
    views.push_back(&view);
    if (view.type == wanted) return;
    const std::string line =
        fmt::format("{} in place of {} (rows of {})", traits(view.type).name, traits(wanted).name, n_in);
    if (std::ranges::find(result.replaced, line) == result.replaced.end()) result.replaced.push_back(line);
  };
  add(model.embedding.table, mix.all, config.n_vocab, config.n_embd);
  model.layers.resize(size_t(config.n_layer));
  for (int64_t i = 0; i < config.n_layer; ++i) {
    Layer& layer = model.layers[size_t(i)];
    layer.attn_norm.gain = ones(config.n_embd);
    layer.ffn_norm.gain = ones(config.n_embd);
    for (const LinearRow& row : linear_rows()) {
      add((layer.*row.member).w, mix.of_layer(row.name, i, config.n_layer), row.n_out(config),
          row.n_in(config));
    }
  }
  model.output_norm.gain = ones(config.n_embd);
  add(model.output.w, mix.of_output(), config.n_vocab, config.n_embd);

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
