// What the choices of a run go by: measured on the data, the model and the machine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/samples.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"
#include "train/estimate.h"
#include "train/options.h"

namespace lora {

struct Facts {
  // Of the data.
  bool is_prose = false;         // one text without samples, to be cut into windows
  std::vector<int64_t> lengths;  // tokens of each sample, not cut but at most kLongestSample; of prose: empty
  int64_t n_beyond = 0;          // tokens of samples behind their first kLongestSample
  int64_t n_tokens = 0;          // in all
  int64_t n_targets = 0;         // of these trained on
  int64_t n_val_samples = 0;     // of val_data
  bool divides_long_samples = false;  // between turns, so that none of it is lost

  // Of the model.
  int64_t n_embd = 0, n_ctx_train = 0;

  // Of the machine. Whether a step of these options fits the memory, at the least.
  std::function<bool(const FinetuneOptions&)> fits = [](const FinetuneOptions&) { return true; };
  // What a run of these options takes on this machine; slow, since it is measured.
  std::function<Estimate(const FinetuneOptions&)> measure;
};

// Samples are looked at with a context of so many tokens at most.
inline constexpr int64_t kLongestSample = 8192;

struct Found {
  std::string what, why;  // "312 records", "one JSON object a line"
};

// Samples, and how they came about.
struct Samples {
  Dataset data;  // at the longest context there may be
  std::vector<Found> found;
  int64_t n_val = 0;  // of val_data
};

// Reads options.train_data and val_data, which are files. What tells the samples of texts apart goes into the
// options (sample_start or window, include_sample_start, escape), and so does a template where there are
// conversations and the model has none (chat_template). What is_given() says was asked for stays. Throws
// Error naming the file where texts differ, or where it cannot be read.
Samples find_samples(FinetuneOptions& options, const std::function<bool(std::string_view flag)>& is_given,
                     const Model& model, const Tokenizer& tokenizer, ThreadPool& pool);

// All but what measure() tells. `model` must stay.
Facts gather_facts(const Samples& samples, const Model& model, int n_threads);

}  // namespace lora
