// The model that is measured: a file's, or a synthetic one in memory.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "model/model.h"
#include "model/synthetic.h"
#include "train/options.h"

namespace lora {

struct BenchOptions {
  FinetuneOptions training;   // model_base, threads, precision, context, batch, ranks, memory, checkpointing
  std::string synthetic;      // a shape's name: in place of model_base
  std::string type = "q8_0";  // of the synthetic weights
  int64_t n_layer = 0;        // the first so many layers; 0: all
  int64_t iterations = 5;     // measured, after one that warms up
  int64_t n_prompt = 512, n_predict = 32;  // tokens, for generation
  Type cache_type = Type::F32;             // of keys and values
  bool profile = false;
};

class BenchModel {
 public:
  // Error naming the file, the shape or the number of layers at fault.
  explicit BenchModel(const BenchOptions& options);

  ThreadPool pool;

 private:
  int64_t n_layer_whole_ = 0;  // first, as opening the model sets it
  SyntheticModel synthetic_;   // of a file, only the model

 public:
  Arithmetic arithmetic;
  Model& model() { return synthetic_.model; }
  const Model& model() const { return synthetic_.model; }

  std::vector<const MatrixView*> weights() const;  // of linear layers and head
  int64_t n_weights() const;
  int64_t weight_bytes() const;
  // The same of what one token is multiplied with: all of it, but of experts those it is sent to.
  struct Active {
    double n_weights, n_bytes;
  };
  Active active() const;
  std::string types() const;  // "Q4_K, Q6_K", the one with most bytes first
  int64_t n_layer_whole() const { return n_layer_whole_; }
  const std::vector<std::string>& replaced_types() const { return synthetic_.replaced; }

  // What this process has in memory now beyond the model: itself, and what of the model lies in f32 beside
  // its file.
  int64_t bytes_beyond() const;
  // The most memory that this process has had so far beyond the model, as the system counts its pages: less
  // those of mapped files, less synthetic weights.
  int64_t peak_bytes_beyond() const;
};

// Of the later half of times: what a median hides, another program's part, is in it.
inline double late_mean(std::span<const double> times) {
  const auto half = times.subspan(times.size() / 2);
  return std::accumulate(half.begin(), half.end(), 0.0) / double(half.size());
}

}  // namespace lora
