// Rows of a model as llama.cpp's quantizer wrote them and its dequantizer read them back
// (tests/golden/quant-TYPE.safetensors: `raw` and `values` of the same 24 rows of 256 for every type).
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
  std::vector<float> values;  // (n_rows, n_cols)

  MatrixView matrix(Type type) const { return {type, raw.data(), n_rows, n_cols}; }
};

// gguf/ stands above this folder and may not be used here; these files are our own, so their header is
// read without checks.
inline GoldenBlocks read_golden_blocks(std::string_view type_name) {
  const MappedFile file(LORA_SOURCE_DIR "/tests/golden/quant-" + lower_case(type_name) + ".safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.bytes().data(), 8);
  const auto header = nlohmann::json::parse(file.text().substr(8, header_bytes));
  const auto data_of = [&](const char* name) {
    const auto& offsets = header.at(name).at("data_offsets");
    const size_t begin = offsets.at(0), end = offsets.at(1);
    return file.bytes().subspan(8 + header_bytes).subspan(begin, end - begin);
  };
  GoldenBlocks golden;
  golden.n_rows = header.at("values").at("shape").at(0);
  golden.n_cols = header.at("values").at("shape").at(1);
  golden.raw.assign(data_of("raw").begin(), data_of("raw").end());
  golden.values.resize(size_t(golden.n_rows * golden.n_cols));
  EXPECT_EQ(data_of("values").size(), golden.values.size() * sizeof(float));
  std::memcpy(golden.values.data(), data_of("values").data(), data_of("values").size());
  return golden;
}

}  // namespace lora
