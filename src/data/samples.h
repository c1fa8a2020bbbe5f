// Text files as samples to train on: cut at a pattern, or windows at every token position.
//
// With t = the tokens of a sample and EOS after them (where wanted and the model has one), cut to
// n_ctx tokens:
//
//   with BOS:     inputs BOS t1 ... t(n-1)    targets t1 ... tn
//   without BOS:  inputs t1 ... t(n-1)        targets t2 ... tn
//
// With a pattern each sample is tokenized on its own. Without one the text is tokenized once, and
// every token position starts a sample that runs n_ctx tokens on (BOS before, no EOS).
// "\r\n" is read as "\n", a UTF-8 byte order mark at the start of a file is dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "tokenizer/tokenizer.h"

namespace lora {

// A target that is not trained on.
inline constexpr Token kIgnore = -1;

struct TextOptions {
  std::string sample_start;           // as it stands in the text (see unescape); empty: windows
  bool include_sample_start = false;  // the pattern is part of the sample it starts
  bool separate_with_bos = true;      // where the model uses BOS; never twice
  bool separate_with_eos = true;      // where the model has EOS and the sample leaves room for it
  bool parse_special = false;         // read the spelling of special tokens in the text as such
  int64_t n_ctx = 128;                // tokens of a sample at most
};

// Replaces \n \r \t \' \" and \\ by what they stand for; every other backslash stays as it is.
std::string unescape(std::string_view text);

// What was read, for the messages before training.
struct DatasetReport {
  int64_t n_samples = 0;
  int64_t n_tokens = 0;  // kept in samples, EOS counted, BOS not; of windows: tokens of the text
  int64_t n_blank = 0;   // skipped: nothing but white space (the pattern aside)
  int64_t n_short = 0;   // skipped: a single token, with neither BOS nor EOS beside it
  int64_t n_cut = 0;     // longer than n_ctx with their EOS; windows are not counted
  int64_t n_lost = 0;    // tokens that were cut off
  int64_t longest = 0;   // tokens of the longest sample before cutting; of windows: at most n_ctx
  // A control token whose spelling stands in the text but is not read as such (parse_special is
  // off), -1 if there is none.
  Token special_spelling = -1;
};

class Dataset {
 public:
  // Reads the files in order, each cut on its own. Names that end in .jsonl, .json or .csv are
  // refused, all others are raw text. The result does not depend on the pool's size.
  // Throws Error naming the file if it cannot be read, holds zero bytes (it is no text), or if no file holds
  // a sample.
  Dataset(const std::vector<std::string>& paths, const Tokenizer& tokenizer, const TextOptions& options,
          ThreadPool& pool);

  int64_t n_samples() const { return report_.n_samples; }
  const DatasetReport& report() const { return report_; }
  int64_t memory_bytes() const {
    return int64_t(tokens_.size() * sizeof(Token) + sample_end_.size() * sizeof(int64_t));
  }

  // Sample i of [0, n_samples()), in file order: inputs and targets of equal length, 1 ... n_ctx.
  void sample(int64_t i, std::vector<Token>& inputs, std::vector<Token>& targets) const;

 private:
  struct Range {
    int64_t begin, end;  // into tokens_
  };
  struct WindowFile {
    int64_t first_sample;  // number of its first window
    Range tokens;
  };
  void add_samples(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool);
  void add_windows(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool);
  Range range(int64_t i) const;

  TextOptions options_;
  Token bos_ = -1;  // to put before samples, -1 if none
  Token eos_ = -1;  // to put after samples, -1 if none
  std::vector<Token> tokens_;
  std::vector<int64_t> sample_end_;       // with a pattern: sample i is [end(i - 1), end(i))
  std::vector<WindowFile> window_files_;  // without
  DatasetReport report_;
};

}  // namespace lora
