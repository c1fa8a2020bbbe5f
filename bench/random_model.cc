// random_model FILE [N_LAYERS [ADAPTER RANK]]: a model of the shape of Llama 3.2 3B (28 layers) with random
// weights in F16, for measuring how fast files are read and written, and an adapter for the matrices of its
// layers. The model is written piece by piece.
//
// random_model FILE N_LAYERS SHAPE TYPE VOCABULARY: as `lora bench --synthetic SHAPE --type TYPE` has it in
// memory, with the vocabulary of a GGUF, for other programs.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "adapter/adapter.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "base/random.h"
#include "gguf/gguf.h"
#include "model/synthetic.h"

namespace lora {
namespace {

constexpr int64_t kEmbd = 3072, kFf = 8192, kHead = 24, kHeadKv = 8, kVocab = 128256;
constexpr int64_t kPiece = 1 << 20;  // values

// Nearly normal: four 16-bit numbers added, deviation 0.02.
float random_weight(uint64_t tensor, uint64_t i) {
  const uint64_t bits = random_bits(1, Purpose::test, tensor, i);
  const auto sum = int64_t((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
  return float(sum - 131070) * (0.02f / 37837);
}

void write_random_adapter(const std::string& path, const std::string& model, int64_t rank) {
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_string("general.type", "adapter");
  writer.set_string("adapter.type", "lora");
  writer.set_f32("adapter.lora.alpha", float(rank));
  std::deque<std::vector<float>> halves;
  const auto add = [&](const std::string& name, std::vector<int64_t> ne) {
    std::vector<float>& values = halves.emplace_back(size_t(ne[0] * ne[1]));
    for (size_t i = 0; i < values.size(); ++i) values[i] = random_weight(1000 + halves.size(), i);
    writer.add_tensor(name, Type::F32, std::move(ne), std::as_bytes(std::span(values)));
  };
  const Gguf base = Gguf::open(model);
  for (const GgufTensor& tensor : base.tensors()) {
    if (!tensor.name.starts_with("blk.") || tensor.n_dims < 2) continue;
    add(tensor.name + ".lora_a", {tensor.ne[0], rank});
    add(tensor.name + ".lora_b", {rank, tensor.ne[1]});
  }
  writer.write(path);
}

void write_random_model(const std::string& path, int64_t n_layers) {
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_u32("general.file_type", 1);
  writer.set_u32("llama.block_count", uint32_t(n_layers));
  writer.set_u32("llama.context_length", 131072);
  writer.set_u32("llama.embedding_length", kEmbd);
  writer.set_u32("llama.feed_forward_length", kFf);
  writer.set_u32("llama.attention.head_count", kHead);
  writer.set_u32("llama.attention.head_count_kv", kHeadKv);
  writer.set_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set_u32("llama.vocab_size", kVocab);
  writer.set_string("tokenizer.ggml.model", "none");

  std::vector<std::pair<Type, int64_t>> tensors;  // type, values
  const auto add = [&](const std::string& name, std::vector<int64_t> ne) {
    const Type type = ne.size() == 1 ? Type::F32 : Type::F16;
    tensors.emplace_back(type, ne[0] * (ne.size() == 1 ? 1 : ne[1]));
    writer.declare_tensor(name, type, std::move(ne));
  };
  add("token_embd.weight", {kEmbd, kVocab});
  add("output_norm.weight", {kEmbd});
  for (int64_t i = 0; i < n_layers; ++i) {
    const auto name = [&](const char* part) { return fmt::format("blk.{}.{}.weight", i, part); };
    add(name("attn_norm"), {kEmbd});
    add(name("attn_q"), {kEmbd, kEmbd});
    add(name("attn_k"), {kEmbd, kEmbd / kHead * kHeadKv});
    add(name("attn_v"), {kEmbd, kEmbd / kHead * kHeadKv});
    add(name("attn_output"), {kEmbd, kEmbd});
    add(name("ffn_norm"), {kEmbd});
    add(name("ffn_gate"), {kEmbd, kFf});
    add(name("ffn_up"), {kEmbd, kFf});
    add(name("ffn_down"), {kFf, kEmbd});
  }

  GgufOutput out(writer, path);
  ThreadPool pool(physical_cores());
  for (size_t t = 0; t < tensors.size(); ++t) {
    const auto& [type, n_values] = tensors[t];
    pool.run((n_values + kPiece - 1) / kPiece, [&, type = type, n_values = n_values](int64_t piece, int) {
      const int64_t begin = piece * kPiece, n = std::min(kPiece, n_values - begin);
      std::vector<float> values(static_cast<size_t>(n));
      for (size_t i = 0; i < values.size(); ++i) values[i] = random_weight(t, uint64_t(begin) + i);
      std::vector<std::byte> blocks(values.size() * size_t(traits(type).block_bytes));
      traits(type).encode(blocks.data(), values.data(), n, nullptr);
      out.write(t, uint64_t(begin * traits(type).block_bytes), blocks);
    });
  }
  out.commit();
}

void write_synthetic(const std::string& path, int64_t n_layers, std::string_view name, std::string_view type,
                     const std::string& vocabulary_path) {
  const Gguf vocabulary = Gguf::open(vocabulary_path);
  SyntheticShape shape = find_synthetic_shape(name);
  shape.n_layer = n_layers;
  shape.n_vocab = int64_t(vocabulary.get_strings("tokenizer.ggml.tokens")->size());
  ThreadPool pool(physical_cores());
  const SyntheticModel synthetic = make_synthetic(shape, type, pool);
  const Model& model = synthetic.model;

  GgufWriter writer;
  for (const auto& [key, value] : synthetic_keys(shape)) writer.set(key, value);
  writer.set_u32(fmt::format("{}.vocab_size", shape.architecture), uint32_t(shape.n_vocab));
  for (const auto& [key, value] : vocabulary.values()) {
    if (key.starts_with("tokenizer.")) writer.set(key, value);
  }
  struct Tensor {
    std::string name;
    Type type;
    std::vector<int64_t> ne;
    std::vector<std::span<const std::byte>> parts;
  };
  std::vector<Tensor> tensors;
  const auto tensor = [&](const std::string& called) -> Tensor& {
    for (Tensor& t : tensors) {
      if (t.name == called) return t;
    }
    return tensors.emplace_back(Tensor{called, Type::F32, {}, {}});
  };
  const auto add_vector = [&](const std::string& called, const float* values, int64_t n, int64_t n_slices) {
    Tensor& t = tensor(called);
    t.ne = lora_ne(n, n_slices, 1);
    if (n_slices == 1) t.ne.pop_back();
    t.parts.push_back(std::as_bytes(std::span(values, size_t(n))));
  };
  const auto add_linear = [&](const std::string& prefix, const Linear& linear, const float* bias) {
    Tensor& t = tensor(fmt::format("{}{}.weight", prefix, linear.tensor));
    t.type = linear.w.type;
    t.ne = lora_ne(linear.n_in(), linear.first_row + linear.n_out(), linear.n_slices);
    t.parts.push_back({linear.w.data, size_t(linear.n_out() * linear.w.row_bytes())});
    if (bias)
      add_vector(fmt::format("{}{}.bias", prefix, linear.tensor), bias, linear.n_out(), linear.n_slices);
  };
  const auto add_norm = [&](const std::string& prefix, const Norm& norm) {
    if (norm) add_vector(fmt::format("{}{}.weight", prefix, norm.tensor), norm.gain.data(), norm.n(), 1);
  };
  const MatrixView& table = model.embedding.table;
  tensors.push_back({"token_embd.weight",
                     table.type,
                     {table.n_cols, table.n_rows},
                     {{table.data, size_t(table.n_rows * table.row_bytes())}}});
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const std::string prefix = fmt::format("blk.{}.", i);
    for (const Branch& branch : model.layers[i].branches) {
      add_norm(prefix, branch.before);
      add_norm(prefix, branch.after);
      for (const Body& body : branch.bodies) {
        if (const auto* attention = std::get_if<Attention>(&body)) {
          add_norm(prefix, attention->q_norm);
          add_norm(prefix, attention->k_norm);
          if (const float* sinks = attention->form.shape.sinks)
            add_vector(prefix + "attn_sinks.weight", sinks, attention->form.shape.n_head, 1);
        }
        if (const auto* latent = std::get_if<LatentAttention>(&body)) {
          add_norm(prefix, latent->q_norm);
          add_norm(prefix, latent->kv_norm);
          for (const Linear* part : {&latent->k_b, &latent->v_b}) {
            if (!latent->is_apart()) continue;
            const MatrixView& w = part->w;
            tensors.push_back({fmt::format("{}{}.weight", prefix, part->tensor),
                               w.type,
                               lora_ne(w.n_cols, w.n_rows / part->n_slices, part->n_slices),
                               {{w.data, size_t(w.n_rows * w.row_bytes())}}});
          }
        }
        if (const auto* conv = std::get_if<ShortConv>(&body)) {
          Tensor& taps = tensor(prefix + "shortconv.conv.weight");
          taps.ne = {conv->d_conv, conv->n_channels()};
          taps.parts.push_back(
              std::as_bytes(std::span(conv->conv, size_t(conv->d_conv * conv->n_channels()))));
        }
        if (const auto* delta = std::get_if<DeltaNet>(&body)) {
          const DeltaNetForm& form = delta->form;
          add_norm(prefix, delta->norm);
          add_vector(prefix + "ssm_a", delta->a, form.n_gates(), 1);
          add_vector(prefix + "ssm_dt.bias", delta->dt_bias, form.n_gates(), 1);
          Tensor& taps = tensor(prefix + "ssm_conv1d.weight");
          taps.ne = {form.d_conv, form.n_qkv()};
          taps.parts.push_back(std::as_bytes(std::span(delta->conv, size_t(form.d_conv * form.n_qkv()))));
        }
        if (const auto* mamba = std::get_if<Mamba2>(&body)) {
          const int64_t n_conv = mamba->n_conv(), n_head = mamba->shape.n_head,
                        n_group = mamba->shape.n_group;
          const auto add = [&](const char* vector, const float* values, std::vector<int64_t> ne) {
            if (!values) return;
            Tensor& added = tensor(prefix + vector);
            int64_t n = 1;
            for (const int64_t extent : ne) n *= extent;
            added.ne = std::move(ne);
            added.parts.push_back(std::as_bytes(std::span(values, size_t(n))));
          };
          add("ssm_conv1d.weight", mamba->conv.w, {mamba->conv.d_conv, n_conv});
          add("ssm_conv1d.bias", mamba->conv.bias, {n_conv});
          add("ssm_dt.bias", mamba->heads.dt_bias, {n_head});
          add("ssm_a", mamba->heads.a, {1, n_head});
          add("ssm_d", mamba->heads.d, {1, n_head});
          add("ssm_norm.weight", mamba->gain, {mamba->n_inner() / n_group, n_group});
        }
        std::visit(
            [&](const auto& b) {
              for_each_linear(b, [&](const Linear& linear, LinearRole) {
                if (linear.adapters_only) return;
                const float* bias = linear.bias;
                if constexpr (std::is_same_v<std::decay_t<decltype(b)>, Experts>) {
                  const bool is_down = linear.tensor == b.experts.front().down.tensor;
                  if (is_down && !b.down_bias.empty()) bias = b.down_bias[size_t(linear.slice)];
                }
                add_linear(prefix, linear, bias);
              });
            },
            body);
      }
    }
  }
  add_norm("", model.output_norm);
  add_linear("", model.output, model.output.bias);
  for (Tensor& t : tensors) writer.declare_tensor(t.name, t.type, t.ne);
  GgufOutput out(writer, path);
  for (size_t t = 0; t < tensors.size(); ++t) {
    uint64_t at = 0;
    for (const auto& part : tensors[t].parts) {
      out.write(t, at, part);
      at += part.size();
    }
  }
  out.commit();
}

}  // namespace
}  // namespace lora

int main(int argc, char** argv) try {
  if (argc < 2 || argv[1][0] == '-') {  // a flag: it has none
    fmt::print(stderr,
               "usage: random_model FILE [N_LAYERS [ADAPTER RANK]]\n"
               "       random_model FILE N_LAYERS SHAPE TYPE VOCABULARY\n");
    return 2;
  }
  if (argc > 5) {
    lora::write_synthetic(argv[1], std::atoll(argv[2]), argv[3], argv[4], argv[5]);
    return 0;
  }
  lora::write_random_model(argv[1], argc > 2 ? std::atoll(argv[2]) : 28);
  if (argc > 4) lora::write_random_adapter(argv[3], argv[1], std::atoll(argv[4]));
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
