#include "data/samples.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "data/cutter.h"
#include "data/encode_long.h"
#include "data/text_file.h"

namespace lora {
namespace {

bool ends_with_any_case(std::string_view text, std::string_view lower_ending) {
  if (text.size() < lower_ending.size()) return false;
  return std::equal(lower_ending.begin(), lower_ending.end(),
                    text.end() - std::ptrdiff_t(lower_ending.size()),
                    [](char a, char b) { return a == char(std::tolower(static_cast<unsigned char>(b))); });
}

// Some samples that one task tokenizes, and what it found.
struct Block {
  std::vector<std::string_view> texts;
  int64_t n_bytes = 0;
  std::vector<Token> tokens;           // of all its samples, cut to the context, EOS included
  std::vector<int64_t> sample_tokens;  // how many each sample has of them
  DatasetReport report;

  void add(std::string_view text) {
    texts.push_back(text);
    n_bytes += int64_t(text.size());
  }
};

struct BlockEncoder {
  const Tokenizer& tokenizer;
  const TextOptions& options;
  Token bos, eos;

  void operator()(Block& block, Encoder& encoder) const {
    std::vector<Token> t;
    for (const std::string_view text : block.texts) {
      DatasetReport& report = block.report;
      if (!options.parse_special && report.special_spelling < 0) {
        report.special_spelling = tokenizer.find_special_spelling(text);
      }
      t.clear();
      encoder.append(t, text, options.parse_special);
      add(block, t);
    }
  }

  // A sample's text as tokens.
  void add(Block& block, std::vector<Token>& t) const {
    DatasetReport& report = block.report;
    if (bos >= 0 && !t.empty() && t[0] == bos) t.erase(t.begin());
    if (eos >= 0) t.push_back(eos);
    const int64_t n = int64_t(t.size());
    if (n < (bos >= 0 ? 1 : 2)) {
      ++(n == 0 ? report.n_blank : report.n_short);
      return;
    }
    const int64_t kept = std::min(n, options.n_ctx);
    report.n_cut += n > kept;
    report.n_lost += n - kept;
    report.longest = std::max(report.longest, n);
    block.tokens.insert(block.tokens.end(), t.begin(), t.begin() + kept);
    block.sample_tokens.push_back(kept);
  }
};

void add_report(DatasetReport& sum, const DatasetReport& part) {
  sum.n_blank += part.n_blank;
  sum.n_short += part.n_short;
  sum.n_cut += part.n_cut;
  sum.n_lost += part.n_lost;
  sum.longest = std::max(sum.longest, part.longest);
  if (sum.special_spelling < 0) sum.special_spelling = part.special_spelling;
}

// The first special token spelled in a long text. Pieces overlap by more than any spelling's length.
Token find_special_spelling(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool) {
  constexpr size_t piece = 1 << 20, overlap = 256;
  std::vector<Token> found((text.size() + piece - 1) / piece, -1);
  pool.run(int64_t(found.size()), [&](int64_t i, int) {
    found[size_t(i)] = tokenizer.find_special_spelling(text.substr(size_t(i) * piece, piece + overlap));
  });
  const auto first = std::find_if(found.begin(), found.end(), [](Token token) { return token >= 0; });
  return first == found.end() ? -1 : *first;
}

}  // namespace

std::string unescape(std::string_view text) {
  constexpr std::string_view letters = "nrt'\"\\", values = "\n\r\t'\"\\";
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t which = text[i] == '\\' && i + 1 < text.size() ? letters.find(text[i + 1]) : letters.npos;
    if (which == letters.npos) {
      result += text[i];
    } else {
      result += values[which];
      ++i;
    }
  }
  return result;
}

Dataset::Dataset(const std::vector<std::string>& paths, const Tokenizer& tokenizer,
                 const TextOptions& options, ThreadPool& pool)
    : options_(options) {
  options_.sample_start = with_unix_newlines(options.sample_start);
  if (options_.separate_with_bos && tokenizer.add_bos()) bos_ = tokenizer.bos();
  if (options_.separate_with_eos && !options_.sample_start.empty()) eos_ = tokenizer.eos();
  const int64_t least_context = bos_ >= 0 ? 1 : 2;
  if (options_.n_ctx < least_context) {
    fail("context length: expected at least {} tokens, found {}", least_context, options_.n_ctx);
  }
  std::string names;
  for (const std::string& path : paths) {
    for (const std::string_view ending : {".jsonl", ".json", ".csv"}) {
      if (ends_with_any_case(path, ending)) fail("{}: records are not yet available; give a text file", path);
    }
    const TextFile file(path);
    if (file.text().find('\0') != std::string_view::npos) {
      fail("{}: holds zero bytes, so it is no text in UTF-8 (UTF-16? save it as UTF-8)", path);
    }
    if (options_.sample_start.empty()) {
      add_windows(file.text(), tokenizer, pool);
    } else {
      add_samples(file.text(), tokenizer, pool);
    }
    names += (names.empty() ? "" : ", ") + path;
  }
  if (report_.n_samples == 0) {
    fail("{}: no samples: {}", names,
         report_.n_short > 0 ? "a single token with neither BOS nor EOS has nothing to predict"
                             : "the text is empty or blank");
  }
}

void Dataset::add_samples(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool) {
  // Enough blocks in a round to keep any pool busy, little enough text to keep memory small.
  constexpr size_t blocks_per_round = 256;
  constexpr int64_t block_bytes = 64 << 10;
  constexpr size_t long_sample = 1 << 20;  // is shared out to the pool by itself
  const BlockEncoder encode{tokenizer, options_, bos_, eos_};
  std::vector<Encoder> encoders;
  for (int worker = 0; worker < pool.size(); ++worker) encoders.emplace_back(tokenizer);
  std::vector<Block> blocks(1);
  const auto finish = [&] {
    for (const Block& block : blocks) {
      add_report(report_, block.report);
      int64_t end = int64_t(tokens_.size());
      for (const int64_t n : block.sample_tokens) sample_end_.push_back(end += n);
      tokens_.insert(tokens_.end(), block.tokens.begin(), block.tokens.end());
    }
    blocks.assign(1, {});
  };
  const auto encode_blocks = [&] {
    pool.run(int64_t(blocks.size()),
             [&](int64_t i, int worker) { encode(blocks[size_t(i)], encoders[size_t(worker)]); });
    finish();
  };
  SampleCutter cutter(text, options_.sample_start, options_.include_sample_start);
  while (const auto sample = cutter.next()) {
    if (sample->blank) {
      ++report_.n_blank;
    } else if (sample->text.size() > long_sample) {
      encode_blocks();
      std::vector<Token> t;
      encode_long(t, sample->text, tokenizer, options_.parse_special, pool);
      if (!options_.parse_special) {
        blocks[0].report.special_spelling = find_special_spelling(sample->text, tokenizer, pool);
      }
      encode.add(blocks[0], t);
      finish();
    } else {
      blocks.back().add(sample->text);
      if (blocks.back().n_bytes >= block_bytes) blocks.emplace_back();
      if (blocks.size() > blocks_per_round) encode_blocks();
    }
  }
  encode_blocks();
  report_.n_samples = int64_t(sample_end_.size());
  report_.n_tokens = int64_t(tokens_.size());
}

void Dataset::add_windows(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool) {
  if (is_blank(text)) {
    ++report_.n_blank;
    return;
  }
  if (!options_.parse_special && report_.special_spelling < 0) {
    report_.special_spelling = find_special_spelling(text, tokenizer, pool);
  }
  const int64_t begin = int64_t(tokens_.size());
  encode_long(tokens_, text, tokenizer, options_.parse_special, pool);
  const int64_t end = int64_t(tokens_.size());
  // With BOS every token is the first target of a window, unless it is a BOS itself.
  const bool last_is_target = end > begin && bos_ >= 0 && tokens_.back() != bos_;
  const int64_t n_windows = end - begin - (last_is_target ? 0 : 1);
  if (n_windows < 1) {
    ++(begin == end ? report_.n_blank : report_.n_short);
    return;
  }
  window_files_.push_back({report_.n_samples, {begin, end}});
  report_.n_samples += n_windows;
  report_.n_tokens = end;
  report_.longest = std::max(report_.longest, std::min(end - begin, options_.n_ctx));
}

Dataset::Range Dataset::range(int64_t i) const {
  if (window_files_.empty()) return {i > 0 ? sample_end_[size_t(i) - 1] : 0, sample_end_[size_t(i)]};
  const auto after =
      std::upper_bound(window_files_.begin(), window_files_.end(), i,
                       [](int64_t sample, const WindowFile& f) { return sample < f.first_sample; });
  const WindowFile& file = *(after - 1);
  int64_t begin = file.tokens.begin + (i - file.first_sample);
  if (bos_ >= 0 && tokens_[size_t(begin)] == bos_) ++begin;
  return {begin, std::min(begin + options_.n_ctx, file.tokens.end)};
}

void Dataset::sample(int64_t i, std::vector<Token>& inputs, std::vector<Token>& targets) const {
  const Range r = range(i);
  inputs.clear();
  if (bos_ >= 0) inputs.push_back(bos_);
  inputs.insert(inputs.end(), tokens_.begin() + r.begin, tokens_.begin() + r.end - 1);
  targets.assign(tokens_.begin() + r.begin + (bos_ >= 0 ? 0 : 1), tokens_.begin() + r.end);
}

}  // namespace lora
