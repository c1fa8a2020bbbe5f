// make_variants BASE.gguf FOLDER [VOCABULARY.gguf]: models that exercise what the bundled one does not, for
// comparison with llama.cpp. Each is BASE with its weights in F32 and one thing changed: FOLDER/NAME.gguf.
// A change need not leave a good model, only one whose numbers depend on the thing changed.
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

constexpr int64_t kHeadDim = 32, kHeads = 8, kKvHeads = 4;  // of the bundled model

struct Matrix {
  int64_t n_rows = 0, n_cols = 0;
  std::vector<float> values;  // (n_rows, n_cols)

  std::span<const float> row(int64_t r) const { return {values.data() + r * n_cols, size_t(n_cols)}; }
};

struct Draft {
  GgufWriter keys;                        // the metadata
  std::map<std::string, Matrix> tensors;  // vectors have one row
  Type type = Type::F32;                  // of the matrices
};

Draft read(const Gguf& file) {
  Draft draft;
  for (const auto& [key, value] : file.values()) draft.keys.set(key, value);
  for (const GgufTensor& tensor : file.tensors()) {
    const MatrixView view = tensor.matrix();
    Matrix& matrix = draft.tensors[tensor.name];
    matrix = {view.n_rows, view.n_cols, std::vector<float>(size_t(view.n_rows * view.n_cols))};
    for (int64_t r = 0; r < view.n_rows; ++r) {
      decode_row(matrix.values.data() + r * view.n_cols, view, r, 0, view.n_cols);
    }
  }
  return draft;
}

std::vector<std::byte> encode(const std::vector<float>& values, Type type) {
  std::vector<std::byte> bytes(values.size() * size_t(traits(type).block_bytes));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = type == Type::F16 ? to_f16(values[i]).bits : to_bf16(values[i]).bits;
    if (type == Type::F32) {
      std::memcpy(bytes.data() + 4 * i, &values[i], 4);
    } else {
      std::memcpy(bytes.data() + 2 * i, &half, 2);
    }
  }
  return bytes;
}

void write(const Draft& draft, const std::string& path) {
  GgufWriter writer = draft.keys;
  std::vector<std::vector<std::byte>> data;  // lives until write()
  for (const auto& [name, matrix] : draft.tensors) {
    const bool vector = matrix.n_rows == 1;
    const Type type = vector ? Type::F32 : draft.type;
    data.push_back(encode(matrix.values, type));
    std::vector<int64_t> ne = {matrix.n_cols};
    if (!vector) ne.push_back(matrix.n_rows);
    writer.add_tensor(name, type, ne, data.back());
  }
  writer.write(path);
}

void for_each_layer(Draft& draft, const std::function<void(const std::string& prefix)>& change) {
  for (int i = 0; draft.tensors.contains(fmt::format("blk.{}.attn_q.weight", i)); ++i)
    change(fmt::format("blk.{}.", i));
}

// The matrix of these rows, in this order.
void take_rows(Matrix& matrix, const std::vector<int64_t>& rows) {
  Matrix taken{int64_t(rows.size()), matrix.n_cols, {}};
  for (int64_t r : rows) taken.values.insert(taken.values.end(), matrix.row(r).begin(), matrix.row(r).end());
  matrix = std::move(taken);
}

void take_columns(Matrix& matrix, const std::vector<int64_t>& columns) {
  Matrix taken{matrix.n_rows, int64_t(columns.size()), {}};
  for (int64_t r = 0; r < matrix.n_rows; ++r) {
    for (int64_t c : columns) taken.values.push_back(matrix.row(r)[size_t(c)]);
  }
  matrix = std::move(taken);
}

// Rows of the first head_dim components of these heads.
std::vector<int64_t> head_rows(const std::vector<int64_t>& heads, int64_t head_dim) {
  std::vector<int64_t> rows;
  for (int64_t h : heads) {
    for (int64_t i = 0; i < head_dim; ++i) rows.push_back(h * kHeadDim + i);
  }
  return rows;
}

std::vector<int64_t> first(int64_t n) {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < n; ++i) numbers.push_back(i);
  return numbers;
}

void set_kv_heads(Draft& draft, const std::vector<int64_t>& heads) {
  for_each_layer(draft, [&](const std::string& prefix) {
    take_rows(draft.tensors[prefix + "attn_k.weight"], head_rows(heads, kHeadDim));
    take_rows(draft.tensors[prefix + "attn_v.weight"], head_rows(heads, kHeadDim));
  });
  draft.keys.set_u32("llama.attention.head_count_kv", uint32_t(heads.size()));
}

void set_head_dim(Draft& draft, int64_t head_dim) {
  for_each_layer(draft, [&](const std::string& prefix) {
    take_rows(draft.tensors[prefix + "attn_q.weight"], head_rows(first(kHeads), head_dim));
    take_rows(draft.tensors[prefix + "attn_k.weight"], head_rows(first(kKvHeads), head_dim));
    take_rows(draft.tensors[prefix + "attn_v.weight"], head_rows(first(kKvHeads), head_dim));
    take_columns(draft.tensors[prefix + "attn_output.weight"], head_rows(first(kHeads), head_dim));
  });
  for (const char* key : {"attention.key_length", "attention.value_length", "rope.dimension_count"}) {
    draft.keys.set_u32(fmt::format("llama.{}", key), uint32_t(head_dim));
  }
}

void add_biases(Draft& draft) {
  for_each_layer(draft, [&](const std::string& prefix) {
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
      Matrix bias{1, draft.tensors[prefix + name + ".weight"].n_rows, {}};
      for (int64_t i = 0; i < bias.n_cols; ++i) {
        bias.values.push_back(0.5f * random_uniform(1, Purpose::test, stream_id(prefix + name), uint64_t(i)) -
                              0.25f);
      }
      draft.tensors[prefix + name + ".bias"] = std::move(bias);
    }
  });
}

// Another model's tokens; each takes an embedding of the base's, at a length of its own.
void set_vocabulary(Draft& draft, const Gguf& base, const Gguf& vocabulary) {
  draft.keys = {};
  for (const Gguf* file : {&base, &vocabulary}) {
    for (const auto& [key, value] : file->values()) {
      if (key.starts_with("tokenizer.") == (file == &vocabulary)) draft.keys.set(key, value);
    }
  }
  const int64_t n_vocab = int64_t(vocabulary.get_strings("tokenizer.ggml.tokens")->size());
  Matrix& table = draft.tensors["token_embd.weight"];
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n_vocab; ++i) rows.push_back(i % table.n_rows);
  take_rows(table, rows);
  for (int64_t i = 0; i < n_vocab; ++i) {
    const float length = 0.5f + random_uniform(2, Purpose::test, 0, uint64_t(i));
    for (int64_t c = 0; c < table.n_cols; ++c) table.values[size_t(i * table.n_cols + c)] *= length;
  }
  draft.tensors.erase("output.weight");
  draft.keys.set_u32("llama.vocab_size", uint32_t(n_vocab));
}

void set_yarn(Draft& draft) {
  draft.keys.set_string("llama.rope.scaling.type", "yarn");
  draft.keys.set_f32("llama.rope.scaling.factor", 4);
  draft.keys.set_u32("llama.rope.scaling.original_context_length", 128);
}

struct Variant {
  const char* name;
  void (*change)(Draft&);
};

const Variant kVariants[] = {
    {"plain", [](Draft&) {}},
    {"f16", [](Draft& d) { d.type = Type::F16; }},
    {"bf16", [](Draft& d) { d.type = Type::BF16; }},
    {"tied", [](Draft& d) { d.tensors.erase("output.weight"); }},
    {"biases", add_biases},
    {"one_kv_head", [](Draft& d) { set_kv_heads(d, {2}); }},
    {"a_kv_head_for_each",
     [](Draft& d) {
       set_kv_heads(d, {0, 1, 1, 2, 2, 3, 3, 0});
     }},
    {"heads_of_24", [](Draft& d) { set_head_dim(d, 24); }},
    {"heads_of_10", [](Draft& d) { set_head_dim(d, 10); }},
    {"freq_base", [](Draft& d) { d.keys.set_f32("llama.rope.freq_base", 500000); }},
    {"rope_freqs",
     [](Draft& d) {
       Matrix factors{1, kHeadDim / 2, {}};
       for (int64_t i = 0; i < kHeadDim / 2; ++i) factors.values.push_back(1 + 0.5f * float(i));
       d.tensors["rope_freqs.weight"] = std::move(factors);
     }},
    {"linear",
     [](Draft& d) {
       d.keys.set_string("llama.rope.scaling.type", "linear");
       d.keys.set_f32("llama.rope.scaling.factor", 2);
     }},
    {"linear_old_key", [](Draft& d) { d.keys.set_f32("llama.rope.scale_linear", 2); }},
    {"yarn", set_yarn},
    {"yarn_attn_factor",
     [](Draft& d) {
       set_yarn(d);
       d.keys.set_f32("llama.rope.scaling.attn_factor", 0.8f);
     }},
    // Not yarn_beta_fast and yarn_beta_slow: llama.cpp reads them for a few other architectures only.
};

void make_variants(const Gguf& base, const std::string& folder, const char* vocabulary) {
  for (const Variant& variant : kVariants) {
    Draft draft = read(base);
    variant.change(draft);
    write(draft, fmt::format("{}/{}.gguf", folder, variant.name));
  }
  if (vocabulary) {
    Draft draft = read(base);
    set_vocabulary(draft, base, Gguf::open(vocabulary));
    write(draft, folder + "/bpe.gguf");
  }
}

}  // namespace
}  // namespace lora

int main(int argc, char** argv) try {
  if (argc < 3) {
    fmt::print(stderr, "usage: make_variants BASE.gguf FOLDER [VOCABULARY.gguf]\n");
    return 2;
  }
  lora::make_variants(lora::Gguf::open(argv[1]), argv[2], argc > 3 ? argv[3] : nullptr);
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
