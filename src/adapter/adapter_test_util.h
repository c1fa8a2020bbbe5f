// A small model and files written by hand, for the tests of this folder.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/peft_test_files.h"
#include "base/process.h"
#include "base/random.h"
#include "gguf/test_files.h"

namespace lora {

// A folder for one test, removed with it.
class ScratchFolder {
 public:
  ScratchFolder() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = testing::TempDir() + "lora_adapter_" + std::to_string(process_id()) + "_" +
            test->test_suite_name() + "_" + test->name();
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

using test::error_of;

inline LoraPair pair_of(const std::string& base, int64_t n_in, int64_t n_out, int64_t rank) {
  const uint64_t stream = stream_id(base);
  return {base, n_in, n_out, rank, numbers(rank * n_in, stream), numbers(n_out * rank, stream + 1)};
}

// n_embd 8, vocabulary 10, 2 heads of 4 with 1 KV head, n_ff 6, one layer, F32 tensors of zeros.
inline Gguf small_base(const ScratchFolder& folder, const std::string& architecture = "llama") {
  const std::vector<std::pair<std::string, std::vector<int64_t>>> tensors = {
      {"token_embd.weight", {8, 10}},    {"blk.0.attn_norm.weight", {8}},
      {"blk.0.attn_q.weight", {8, 8}},   {"blk.0.attn_k.weight", {8, 4}},
      {"blk.0.attn_v.weight", {8, 4}},   {"blk.0.attn_output.weight", {8, 8}},
      {"blk.0.ffn_gate.weight", {8, 6}}, {"blk.0.ffn_up.weight", {8, 6}},
      {"blk.0.ffn_down.weight", {6, 8}}, {"output.weight", {8, 10}},
      {"blk.0.attn_q.bias", {8}},
  };
  const std::vector<float> zeros(80);
  GgufWriter writer;
  writer.set_string("general.architecture", architecture);
  writer.set_u32(architecture + ".attention.head_count", 2);
  writer.set_u32(architecture + ".attention.head_count_kv", 1);
  for (const auto& [name, ne] : tensors) {
    size_t n = 1;
    for (const int64_t extent : ne) n *= size_t(extent);
    writer.add_tensor(name, Type::F32, ne, std::as_bytes(std::span(zeros).first(n)));
  }
  writer.write(folder.file("base.gguf"));
  return Gguf::open(folder.file("base.gguf"));
}

inline void expect_equal(const LoraPair& found, const LoraPair& expected) {
  EXPECT_EQ(found.base, expected.base);
  EXPECT_EQ(found.n_in, expected.n_in) << expected.base;
  EXPECT_EQ(found.n_out, expected.n_out) << expected.base;
  EXPECT_EQ(found.rank, expected.rank) << expected.base;
  EXPECT_EQ(found.a, expected.a) << expected.base;
  EXPECT_EQ(found.b, expected.b) << expected.base;
}

}  // namespace lora
