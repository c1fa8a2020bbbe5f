// A model's file written anew, some tensors in another type or with other values: what quantizing and merging
// share. Tensors are read from the mapped file, changed, encoded and written a piece at a time by all
// threads: beyond the mapping no more memory is used than some hundred kilobytes for each thread, whatever
// the model's size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "convert/imatrix.h"
#include "gguf/gguf.h"

namespace lora {

// scale * L R, to be added to a matrix (n_rows, n_cols).
struct LowRank {
  const float* left = nullptr;  // (n_rows, rank): element (i, k) at i * row_stride + k * rank_stride
  int64_t row_stride = 0, rank_stride = 0;
  const float* right = nullptr;  // (rank, n_cols), of each slice
  int64_t rank = 0;
  float scale = 1;
  int64_t rows_per_slice = 0;  // of a stack of matrices, each with a `right` of its own; 0: it is one matrix
};

// What becomes of one tensor.
struct Rewrite {
  Type to;
  const ImatrixEntry* importance = nullptr;  // of its columns
  std::span<const LowRank> changes = {};
  bool measure = false;  // decodes what it encoded
};

// Sums over a tensor's values w, their changes d and the errors e: stored is w + d + e.
struct RewriteSums {
  double weight = 0;        // of w^2
  double change = 0;        // of d^2
  double error = 0;         // of e^2
  double error_change = 0;  // of e d

  void add(const RewriteSums& other);
  double relative_error() const;   // root of (error / weight); 0 of zeros
  double relative_change() const;  // root of (change / weight)
  double error_of_change() const;  // root of (error / change); 0 without a change
  // How much of the change is in what is stored: sum of (d + e) d over sum of d^2; 1 if nothing is lost.
  double kept() const;
};

class TensorRewriter {
 public:
  // path: of what is read, for messages. threads: 0: physical_cores()
  TensorRewriter(std::string path, int threads);

  // Tensor `index` of the output. Errors name the file and the tensor.
  RewriteSums rewrite(const GgufTensor& tensor, const Rewrite& how, GgufOutput& out, size_t index);
  void copy(const GgufTensor& tensor, GgufOutput& out, size_t index);

 private:
  struct Buffers {
    std::vector<float> values, changes, decoded;
    std::vector<std::byte> blocks;
  };
  std::string path_;
  ThreadPool pool_;
  std::vector<Buffers> buffers_;  // of each thread
};

uint64_t bytes_of(const GgufTensor& tensor, Type type);  // if it were of this type

// A writer with the model's metadata, without what says that it is split.
GgufWriter copied_keys(const Gguf& model);

// Error unless the file holds a model with tensors.
void expect_model(const Gguf& model);

}  // namespace lora
