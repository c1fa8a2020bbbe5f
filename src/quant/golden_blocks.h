// Rows of a model as llama.cpp's quantizer wrote them and its dequantizer read them back
// (tests/golden/quant-TYPE.safetensors: `raw` and `values` of 24 rows of 256; of NVFP4, random blocks). Of
// most types the rows are those that the F16 file has; where it is others, and there is an encoder,
// `original` are these in F32.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/ascii.h"
#include "base/file.h"
#include "quant/types.h"

namespace lora {

struct GoldenBlocks {
  int64_t n_rows = 0, n_cols = 0;
  std::vector<std::byte> raw;
  std::vector<float> values;    // (n_rows, n_cols)
  std::vector<float> original;  // the same, or empty

  MatrixView matrix(Type type) const { return {type, raw.data(), n_rows, n_cols}; }
};

// gguf/ stands above this folder and may not be used here; these files are our own, so their header is
// read without checks.
class GoldenFile {
 public:
  explicit GoldenFile(const std::string& name) : file_(LORA_SOURCE_DIR "/tests/golden/" + name) {
    std::memcpy(&header_bytes_, file_.bytes().data(), 8);
    header_ = nlohmann::json::parse(file_.text().substr(8, header_bytes_));
  }

  bool has(const char* name) const { return header_.contains(name); }
  int64_t length(const char* name, int dimension) const {
    return header_.at(name).at("shape").at(size_t(dimension));
  }
  template <class T>
  std::vector<T> read(const char* name) const {
    const auto& offsets = header_.at(name).at("data_offsets");
    const size_t begin = offsets.at(0), end = offsets.at(1);
    std::vector<T> values((end - begin) / sizeof(T));
    std::memcpy(values.data(), file_.bytes().data() + 8 + header_bytes_ + begin, end - begin);
    return values;
  }

 private:
  MappedFile file_;
  uint64_t header_bytes_ = 0;
  nlohmann::json header_;
};

inline GoldenBlocks read_golden_blocks(std::string_view type_name) {
  const GoldenFile file("quant-" + lower_case(type_name) + ".safetensors");
  GoldenBlocks golden;
  golden.n_rows = file.length("values", 0);
  golden.n_cols = file.length("values", 1);
  golden.raw = file.read<std::byte>("raw");
  golden.values = file.read<float>("values");
  if (file.has("original")) golden.original = file.read<float>("original");
  EXPECT_EQ(int64_t(golden.values.size()), golden.n_rows * golden.n_cols);
  return golden;
}

}  // namespace lora
