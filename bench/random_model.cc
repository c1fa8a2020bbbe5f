// random_model FILE [N_LAYERS [ADAPTER RANK]]: a model of the shape of Llama 3.2 3B (28 layers) with random
// weights in F16, for measuring how fast files are read and written, and an adapter for the matrices of its
// layers. The model is written piece by piece.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/machine.h"
#include "base/parallel.h"
#include "base/random.h"
#include "gguf/gguf.h"

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

}  // namespace
}  // namespace lora

int main(int argc, char** argv) try {
  if (argc < 2) {
    fmt::print(stderr, "usage: random_model FILE [N_LAYERS [ADAPTER RANK]]\n");
    return 2;
  }
  lora::write_random_model(argv[1], argc > 2 ? std::atoll(argv[2]) : 28);
  if (argc > 4) lora::write_random_adapter(argv[3], argv[1], std::atoll(argv[4]));
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
