// Which tensors a converted model has, and where each comes from.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "convert/hf_config.h"
#include "convert/hf_weights.h"
#include "convert/metadata.h"
#include "quant/types.h"

namespace lora {

// Where a tensor, or a matrix of a stack, comes from.
struct PlannedSource {
  std::string hf_name;
  const HfTensor* hf = nullptr;
  const HfTensor* scale = nullptr;  // of FP8 values, of MXFP4 blocks
};

struct PlannedTensor {
  std::string name;
  Type type = Type::F32;
  int64_t n_rows = 1, n_cols = 1;  // of each slice
  bool is_matrix = false;          // vectors have one dimension in GGUF, and stay F32
  int64_t n_slices = 1;            // of a stack of matrices, or of vectors
  Stack stack = Stack::none;
  std::vector<PlannedSource> sources{};  // one, or one for each slice; none: `values` are the tensor
  std::vector<int64_t> rows{};           // of a slice of `hf`, one for each row; empty: they stay
  int64_t n_hf_rows = 1;                 // of a slice of `hf`
  int64_t n_hf_cols = 1;                 // of a head's part of `hf`, which has n_hf_rows of them,
  int64_t first_hf_row = 0;              // and this one's begin there
  bool transposed = false;               // which has a column for each row
  std::vector<int64_t> columns{};        // of `hf`, one for each column; empty: they stay
  bool is_conv = false;                  // which has a dimension of one between rows and columns
  bool is_flat = false;                  // which has one dimension
  float add = 0;
  bool negated_exp = false;           // of a vector
  std::vector<RowFactors> factors{};  // of each row of a slice; empty: none
  std::vector<float> values{};

  const PlannedSource& source(int64_t slice) const { return sources[sources.size() > 1 ? size_t(slice) : 0]; }
  std::vector<int64_t> ne() const;
  int64_t bytes() const;
};

// In GGUF's order: embedding, layers, norm, output. Matrices get `matrix_type`, or F16 where its blocks do
// not divide the rows. Error naming the file and the tensor that is missing, has another shape than
// config.json says, or belongs to no module of the architecture.
// config: as trust_weights() leaves it. `say` gets a line of what of the weights is left out, and of the
// tensors that are F16 because blocks do not divide their rows.
std::vector<PlannedTensor> plan_tensors(const HfConfig& config, const HfWeights& weights, Type matrix_type,
                                        const std::function<void(std::string_view)>& say);

}  // namespace lora
