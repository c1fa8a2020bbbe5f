// Small models for the tests of this folder: names and shapes as real ones have them, random weights.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/random.h"
#include "gguf/gguf.h"
#include "model/synthetic_blocks.h"

namespace lora::test {

// A folder of its own, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int n = 0;
    path_ = testing::TempDir() + "lora_convert_" + std::to_string(process_id()) + "_" + std::to_string(n++);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string at(const std::string& name) const { return path_ + "/" + name; }
  size_t n_files() const {
    return size_t(
        std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::string path_;
};

struct ModelShape {
  std::string arch = "llama";
  int64_t n_layers = 2, n_embd = 256, n_ff = 512, n_head = 8, n_head_kv = 8, n_expert = 0, n_vocab = 48;
  bool tied = false, fused_qkv = false;
  Type type = Type::F32;
};

// A model's tensors, collected for a GgufWriter; the bytes live here.
class TestModel {
 public:
  explicit TestModel(const ModelShape& s) : shape_(s) {
    const std::string a = s.arch + ".";
    keys.set_string("general.architecture", s.arch);
    keys.set_u32(a + "block_count", uint32_t(s.n_layers));
    keys.set_u32(a + "embedding_length", uint32_t(s.n_embd));
    keys.set_u32(a + "feed_forward_length", uint32_t(s.n_ff));
    keys.set_u32(a + "context_length", 128);
    keys.set_f32(a + "attention.layer_norm_rms_epsilon", 1e-5f);
    keys.set_u32(a + "attention.head_count", uint32_t(s.n_head));
    keys.set_u32(a + "attention.head_count_kv", uint32_t(s.n_head_kv));
    if (s.n_expert > 0) {
      keys.set_u32(a + "expert_count", uint32_t(s.n_expert));
      keys.set_u32(a + "expert_used_count", 2);
    }
    keys.set_u32("general.file_type", 0);
    keys.set_string("general.name", "test");
    const int64_t n_kv = s.n_embd / s.n_head * s.n_head_kv;
    add("token_embd.weight", {s.n_embd, s.n_vocab});
    if (!s.tied) add("output.weight", {s.n_embd, s.n_vocab});
    add("output_norm.weight", {s.n_embd});
    for (int64_t i = 0; i < s.n_layers; ++i) {
      const std::string p = "blk." + std::to_string(i) + ".";
      add(p + "attn_norm.weight", {s.n_embd});
      add(p + "ffn_norm.weight", {s.n_embd});
      if (s.fused_qkv) {
        add(p + "attn_qkv.weight", {s.n_embd, s.n_embd + 2 * n_kv});
      } else {
        add(p + "attn_q.weight", {s.n_embd, s.n_embd});
        add(p + "attn_k.weight", {s.n_embd, n_kv});
        add(p + "attn_v.weight", {s.n_embd, n_kv});
      }
      add(p + "attn_output.weight", {s.n_embd, s.n_embd});
      if (s.n_expert > 0) {
        add(p + "ffn_gate_inp.weight", {s.n_embd, s.n_expert});
        add(p + "ffn_down_exps.weight", {s.n_ff, s.n_embd, s.n_expert});
        add(p + "ffn_up_exps.weight", {s.n_embd, s.n_ff, s.n_expert});
        add(p + "ffn_gate_exps.weight", {s.n_embd, s.n_ff, s.n_expert});
      } else {
        add(p + "ffn_down.weight", {s.n_ff, s.n_embd});
        add(p + "ffn_up.weight", {s.n_embd, s.fused_qkv ? 2 * s.n_ff : s.n_ff});
        if (!s.fused_qkv) add(p + "ffn_gate.weight", {s.n_embd, s.n_ff});
      }
    }
  }

  struct Tensor {
    std::string name;
    std::vector<int64_t> ne;
    Type type;
    std::vector<std::byte> data;
  };
  GgufWriter keys;
  std::vector<Tensor> tensors;

  std::string write(const std::string& path) const {
    GgufWriter writer = keys;
    for (const Tensor& t : tensors) writer.add_tensor(t.name, t.type, t.ne, t.data);
    writer.write(path);
    return path;
  }

  // The same in two files, m-00001-of-00002.gguf and the other, of which the first's path is returned.
  std::string write_split(const std::string& folder) const {
    const size_t half = tensors.size() / 2;
    for (uint64_t part = 0; part < 2; ++part) {
      GgufWriter writer = keys;
      writer.set("split.no", {GgufValueType::u16, {}, part});
      writer.set("split.count", {GgufValueType::u16, {}, uint64_t{2}});
      writer.set("split.tensors.count", {GgufValueType::i32, {}, int64_t(tensors.size())});
      for (size_t i = part * half; i < (part ? tensors.size() : half); ++i) {
        writer.add_tensor(tensors[i].name, tensors[i].type, tensors[i].ne, tensors[i].data);
      }
      writer.write(folder + (part ? "/m-00002-of-00002.gguf" : "/m-00001-of-00002.gguf"));
    }
    return folder + "/m-00001-of-00002.gguf";
  }

 private:
  void add(const std::string& name, std::vector<int64_t> ne) {
    int64_t n = 1;
    for (const int64_t length : ne) n *= length;
    std::vector<float> values(static_cast<size_t>(n));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = random_uniform(1, Purpose::test, stream_id(name), i) - 0.5f;
    }
    const TypeTraits& type = traits(ne.size() == 1 ? Type::F32 : shape_.type);
    std::vector<std::byte> data(size_t(n / type.block_size * type.block_bytes));
    if (type.encode) {
      type.encode(data.data(), values.data(), n, nullptr);
    } else {
      data = random_blocks(type.type, n, 0.3f);
    }
    tensors.push_back({name, std::move(ne), type.type, std::move(data)});
  }

  ModelShape shape_;
};

}  // namespace lora::test
