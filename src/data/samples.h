// Training files as samples: texts cut at a pattern, into consecutive windows or into windows at every token
// position, and records.
//
// With t = the tokens of a sample and EOS after them (where wanted and the model has one), cut to
// n_ctx tokens:
//
//   with BOS:     inputs BOS t1 ... t(n-1)    targets t1 ... tn
//   without BOS:  inputs t1 ... t(n-1)        targets t2 ... tn
//
// With a pattern each sample is tokenized on its own. Without one the text is tokenized once, and
// every token position starts a sample that runs n_ctx tokens on (BOS before, no EOS). With `window` the next
// one starts where it ends: each token is in one sample, and the last one, which may be short, gets the EOS
// of the text if it has room. Of a record (data/record.h) only a part is trained on: the targets of the
// others are kIgnore; one that ends with the template's end token gets no EOS. "\r\n" is read as "\n", a
// UTF-8 byte order mark at the start of a file is dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/parallel.h"
#include "data/sample_options.h"
#include "tokenizer/tokenizer.h"

namespace lora {

// Replaces \n \r \t \' \" and \\ by what they stand for; every other backslash stays as it is.
std::string unescape(std::string_view text);

class Dataset {
 public:
  // Reads the files in order, each cut on its own. Names that end in .jsonl, .json, .csv or .tsv are
  // records, all others are raw text. The result does not depend on the pool's size.
  // Throws Error naming the file if it cannot be read, holds zero bytes (it is no text), if no file holds
  // a sample, and "FILE: line N: WHY" for a record that is malformed or has nothing to train on; and for a
  // card without a chat of SillyTavern.
  Dataset(const std::vector<std::string>& paths, const Tokenizer& tokenizer, const TextOptions& options,
          ThreadPool& pool);

  int64_t n_samples() const { return report_.n_samples; }
  const DatasetReport& report() const { return report_; }
  // Of the files' bytes, one file after the other (base/hash.h).
  uint64_t file_hash() const { return file_hash_; }
  // Of all samples' tokens and what of them is trained on.
  uint64_t token_hash() const;

  // Sample i of [0, n_samples()), in file order: inputs and targets of equal length, 1 ... n_ctx.
  void sample(int64_t i, std::vector<Token>& inputs, std::vector<Token>& targets) const;

  // Samples that together are all of the files, none of it twice: all, but of windows at every token those
  // side by side.
  std::vector<int64_t> side_by_side() const;
  // Those that are windows at every token, or all others.
  std::vector<int64_t> numbers(bool windows) const;

 private:
  struct Range {
    int64_t begin, end;  // into tokens_
  };
  struct File {
    int64_t first_sample;
    Range tokens;
    bool is_windows;
    int64_t first_end;  // of its samples in sample_end_, unless windows
  };
  class Blocks;

  void add_file(const std::string& path, Blocks& blocks, ThreadPool& pool);
  void add_samples(std::string_view text, const std::string& path, Blocks& blocks);
  void add_windows(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool);
  void add_consecutive(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool);
  bool add_whole_text(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool);
  // card: of SillyTavern's chats, nullptr without
  void add_records(std::string_view text, const std::string& path, const CharacterCard* card, Blocks& blocks);
  Range range(int64_t i) const;
  int64_t end_of_file(size_t file) const;  // its samples'

  TextOptions options_;
  Token bos_ = -1;                   // to put before samples, -1 if none
  Token eos_ = -1;                   // to put after samples, -1 if none
  std::vector<Token> tokens_;        // those that are not trained on as their complement
  std::vector<int64_t> sample_end_;  // in tokens_, of samples that are no windows
  std::vector<File> files_;          // those that hold a sample
  DatasetReport report_;
  uint64_t file_hash_ = kHashStart;
};

}  // namespace lora
