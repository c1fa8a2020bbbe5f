#include "data/samples.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "data/cutter.h"
#include "data/encode_long.h"
#include "data/record_file.h"
#include "data/sample_encoder.h"
#include "data/sillytavern.h"
#include "data/text_file.h"

namespace lora {
namespace {

void add_report(DatasetReport& sum, const DatasetReport& part) {
  sum.n_blank += part.n_blank;
  sum.n_short += part.n_short;
  sum.n_cut += part.n_cut;
  sum.n_lost += part.n_lost;
  sum.longest = std::max(sum.longest, part.longest);
  sum.text_tokens += part.text_tokens;
  sum.text_lost += part.text_lost;
  sum.text_longest = std::max(sum.text_longest, part.text_longest);
  sum.n_bad += part.n_bad;
  if (sum.first_bad.empty()) sum.first_bad = part.first_bad;
  sum.chat_templates.insert(part.chat_templates.begin(), part.chat_templates.end());
  sum.n_system_in_user += part.n_system_in_user;
  sum.n_user_first += part.n_user_first;
  sum.n_rewritten += part.n_rewritten;
  sum.n_rewritten_texts += part.n_rewritten_texts;
  sum.n_split += part.n_split;
  if (sum.special_spelling < 0) sum.special_spelling = part.special_spelling;
  for (const auto& [name, n] : part.ignored_fields) {
    const bool has_room =
        sum.ignored_fields.size() < DatasetReport::kMostFields || sum.ignored_fields.contains(name);
    if (has_room) sum.ignored_fields[name] += n;
    sum.ignored_more |= !has_room;
  }
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

void check_utf8(std::string_view text, const std::string& path, DatasetReport& report) {
  if (!report.not_utf8.empty()) return;
  const size_t valid = valid_utf8_prefix(text);
  if (valid == text.size()) return;
  const auto line = std::ranges::count(text.substr(0, valid), '\n') + 1;
  report.not_utf8 = fmt::format("{}: line {}", path, line);
}

// Whether its first line is a JSON object: records under a name that does not say so.
bool begins_with_object(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  return line.starts_with('{') && nlohmann::json::accept(line);
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

// Samples on their way into the dataset, encoded block by block by the pool and added in order.
class Dataset::Blocks {
 public:
  using Encode = std::function<void(SampleEncoder&, EncodedSamples&, std::string_view text, int64_t number)>;

  Blocks(Dataset& dataset, const Tokenizer& tokenizer, ThreadPool& pool)
      : dataset_(dataset), tokenizer_(tokenizer), pool_(pool), blocks_(1) {
    for (int worker = 0; worker < pool.size(); ++worker) {
      encoders_.emplace_back(tokenizer, dataset.options_, dataset.bos_, dataset.eos_);
    }
  }

  // encode() is called later for the text, which must stay valid until flush(), and the number that belongs
  // to it: a record's line, or the bytes of a sample's own text. `n_bytes`: what it reads.
  void add(std::string_view text, int64_t number, size_t n_bytes, const Encode& encode) {
    blocks_.back().items.push_back({text, number});
    blocks_.back().n_bytes += n_bytes;
    if (blocks_.back().n_bytes >= kBlockBytes) blocks_.emplace_back();
    if (blocks_.size() > kBlocksPerRound) flush(encode);
  }

  void flush(const Encode& encode) {
    pool_.run(int64_t(blocks_.size()), [&](int64_t i, int worker) {
      Block& block = blocks_[size_t(i)];
      for (const Item& item : block.items)
        encode(encoders_[size_t(worker)], block.samples, item.text, item.number);
    });
    for (const Block& block : blocks_) {
      const EncodedSamples& samples = block.samples;
      add_report(dataset_.report_, samples.report);
      if (!dataset_.options_.skip_bad_records && samples.report.n_bad > 0)
        fail("{}", samples.report.first_bad);
      int64_t end = int64_t(dataset_.tokens_.size());
      for (const int64_t n : samples.sample_tokens) dataset_.sample_end_.push_back(end += n);
      dataset_.tokens_.insert(dataset_.tokens_.end(), samples.tokens.begin(), samples.tokens.end());
    }
    blocks_.assign(1, {});
  }

  // A long text, encoded by the whole pool. Nothing else may be waiting.
  void add_long(std::string_view text) {
    EncodedSamples& samples = blocks_[0].samples;
    if (!dataset_.options_.parse_special) {
      samples.report.special_spelling = find_special_spelling(text, tokenizer_, pool_);
    }
    std::vector<Token> tokens;
    encode_long(tokens, text, tokenizer_, dataset_.options_.parse_special, pool_);
    encoders_[0].add_tokens(samples, tokens);
    flush({});
  }

 private:
  // Enough blocks in a round to keep any pool busy, little enough text to keep memory small.
  static constexpr size_t kBlocksPerRound = 256, kBlockBytes = 64 << 10;

  struct Item {
    std::string_view text;
    int64_t number;
  };
  struct Block {
    std::vector<Item> items;
    size_t n_bytes = 0;
    EncodedSamples samples;
  };

  Dataset& dataset_;
  const Tokenizer& tokenizer_;
  ThreadPool& pool_;
  std::vector<SampleEncoder> encoders_;  // one per worker
  std::vector<Block> blocks_;
};

Dataset::Dataset(const std::vector<std::string>& paths, const Tokenizer& tokenizer,
                 const TextOptions& options, ThreadPool& pool)
    : options_(options) {
  options_.sample_start = with_unix_newlines(options.sample_start);
  if (options_.separate_with_bos && tokenizer.add_bos()) bos_ = tokenizer.bos();
  if (options_.separate_with_eos) eos_ = tokenizer.eos();
  const int64_t least_context = bos_ >= 0 ? 1 : 2;
  if (options_.n_ctx < least_context) {
    fail("context length: expected at least {} tokens, found {}", least_context, options_.n_ctx);
  }
  std::optional<CharacterCard> card;
  if (!options_.card.empty()) {
    card = read_character_card(options_.card);
    report_.tavern.card = fmt::format("{} ({})", options_.card, printable(card->name, 40));
    report_.tavern.used = card->used;
    report_.tavern.unused = card->unused;
  }
  Blocks blocks(*this, tokenizer, pool);
  std::string names;
  for (const std::string& path : paths) {
    const int64_t first_token = int64_t(tokens_.size()), first_end = int64_t(sample_end_.size());
    const int64_t first_sample = report_.n_samples;
    const auto format = record_format(path);
    const bool is_windows = !format && options_.sample_start.empty() && options_.window == 0;
    if (format) {
      ++report_.n_record_files;
      const MappedFile file(path);
      expect_text(file.text(), path, &file_hash_);
      if (*format == RecordFormat::csv)
        check_utf8(file.text(), path, report_);  // JSON's reader refuses others
      add_records(without_byte_order_mark(file.text()), path, card ? &*card : nullptr, blocks);
    } else {
      const TextFile file(path, &file_hash_);
      check_utf8(file.text(), path, report_);
      if (report_.like_records.empty() && begins_with_object(file.text())) report_.like_records = path;
      if (is_windows) {
        ++report_.n_window_files;
        add_windows(file.text(), tokenizer, pool);
      } else if (options_.window > 0) {
        add_consecutive(file.text(), tokenizer, pool);
      } else {
        add_samples(file.text(), path, blocks);
      }
    }
    if (!is_windows) report_.n_samples += int64_t(sample_end_.size()) - first_end;
    if (report_.n_samples > first_sample) {
      files_.push_back({first_sample, {first_token, int64_t(tokens_.size())}, is_windows, first_end});
    }
    names += (names.empty() ? "" : ", ") + path;
  }
  if (card && report_.tavern.n_chats == 0) fail("--card: there is no SillyTavern chat in {}", names);
  report_.n_tokens = int64_t(tokens_.size());
  if (report_.n_samples == 0) {
    fail("{}: no samples: {}", names,
         report_.n_bad > 0     ? "all records were skipped, the first one because of " + report_.first_bad
         : report_.n_short > 0 ? "a single token with neither BOS nor EOS has nothing to predict"
         : report_.n_record_files > 0 ? "there is no record"
                                      : "the text is empty or blank");
  }
}

void Dataset::add_samples(std::string_view text, const std::string& path, Blocks& blocks) {
  constexpr size_t long_sample = 1 << 20;  // is shared out to the pool by itself
  const bool overlapping = options_.overlapping_samples;
  const Blocks::Encode encode = [&](SampleEncoder& encoder, EncodedSamples& samples, std::string_view sample,
                                    int64_t n_own) {
    overlapping ? encoder.add_start_of(samples, sample, size_t(n_own)) : encoder.add_text(samples, sample);
  };
  const int64_t tokens_before = report_.text_tokens;
  SampleCutter cutter(text, options_.sample_start, options_.include_sample_start);
  while (const auto sample = cutter.next()) {
    if (sample->blank) {
      ++report_.n_blank;
    } else if (overlapping) {
      const std::string_view rest = text.substr(size_t(sample->text.data() - text.data()));
      blocks.add(rest, int64_t(sample->text.size()), std::min(rest.size(), 4 * size_t(options_.n_ctx)),
                 encode);
    } else if (sample->text.size() > long_sample) {
      blocks.flush(encode);
      blocks.add_long(sample->text);
    } else {
      blocks.add(sample->text, 0, sample->text.size(), encode);
    }
  }
  blocks.flush(encode);
  const int64_t n_tokens = report_.text_tokens - tokens_before;
  if (n_tokens == 0 || text.find(options_.sample_start) != std::string_view::npos) return;
  if (report_.n_uncut_files++ > 0) return;
  report_.first_uncut = path;
  report_.uncut_tokens = n_tokens;
}

// Appends its tokens; false for a blank one.
bool Dataset::add_whole_text(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool) {
  if (is_blank(text)) {
    ++report_.n_blank;
    return false;
  }
  if (!options_.parse_special && report_.special_spelling < 0) {
    report_.special_spelling = find_special_spelling(text, tokenizer, pool);
  }
  encode_long(tokens_, text, tokenizer, options_.parse_special, pool);
  return true;
}

void Dataset::add_consecutive(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool) {
  const auto begin = int64_t(tokens_.size());
  if (!add_whole_text(text, tokenizer, pool)) return;
  const auto end_of_text = int64_t(tokens_.size());
  if (eos_ >= 0) tokens_.push_back(eos_);
  const auto end = int64_t(tokens_.size());
  int64_t kept = begin;  // up to here in samples
  for (int64_t at = begin; at < end_of_text;) {
    if (tokens_[size_t(at)] == bos_) {  // the one that goes before every sample
      ++at;
      continue;
    }
    const int64_t n = std::min(options_.window, end - at);
    if (n < (bos_ >= 0 ? 1 : 2)) {
      ++report_.n_short;
      break;
    }
    std::copy_n(tokens_.begin() + at, n, tokens_.begin() + kept);
    at += n;
    kept += n;
    sample_end_.push_back(kept);
    ++report_.n_consecutive;
    report_.longest = std::max(report_.longest, n);
  }
  tokens_.resize(size_t(kept));
}

void Dataset::add_windows(std::string_view text, const Tokenizer& tokenizer, ThreadPool& pool) {
  const int64_t begin = int64_t(tokens_.size());
  if (!add_whole_text(text, tokenizer, pool)) return;
  const int64_t end = int64_t(tokens_.size());
  // With BOS every token is the first target of a window, unless it is a BOS itself.
  const bool last_is_target = end > begin && bos_ >= 0 && tokens_.back() != bos_;
  const int64_t n_windows = end - begin - (last_is_target ? 0 : 1);
  if (n_windows < 1) {
    ++(begin == end ? report_.n_blank : report_.n_short);
    return;
  }
  report_.n_samples += n_windows;
  report_.longest = std::max(report_.longest, std::min(end - begin, options_.n_ctx));
}

void Dataset::add_records(std::string_view text, const std::string& path, const CharacterCard* card,
                          Blocks& blocks) {
  const RecordFormat format = *record_format(path);
  const auto bad = [&](DatasetReport& report, const std::string& why) {
    if (report.n_bad++ == 0) report.first_bad = fmt::format("{}: {}", path, why);
  };
  // What goes wrong with a file as a whole.
  const auto of_file = [&](const auto& read) {
    try {
      return read();
    } catch (const Error& error) {
      fail("{}: {}", path, error.what());
    }
  };
  std::vector<std::string> skipped;
  const std::optional<Record> chat = of_file([&] {
    return read_sillytavern_chat(text, path, format, {options_.names, card}, report_.tavern,
                                 options_.skip_bad_records ? &skipped : nullptr);
  });
  for (const std::string& why : skipped) bad(report_, why);

  RecordCutter cutter = of_file([&] { return RecordCutter(text, format, options_.columns); });
  const Blocks::Encode encode = [&](SampleEncoder& encoder, EncodedSamples& samples, std::string_view raw,
                                    int64_t line) {
    const auto succeeds = [&](const auto& step) {
      try {
        step();
        return true;
      } catch (const Error& error) {
        bad(samples.report, fmt::format("line {}: {}", line, error.what()));
        return false;
      }
    };
    Record record;
    if (!succeeds([&] { record = chat ? *chat : cutter.parse(raw); })) return;
    for (const std::string& name : record.ignored) ++samples.report.ignored_fields[name];
    if (record.chat && !record.in_alpacas_words) encoder.choose_template(path);
    succeeds([&] { encoder.add_record(samples, record); });
  };
  if (chat) {
    blocks.add(text, 1, 0, encode);
  } else {
    while (const auto raw = of_file([&] { return cutter.next(); })) {
      blocks.add(raw->text, raw->line, raw->text.size(), encode);
    }
  }
  blocks.flush(encode);
  if (!chat) of_file([&] { cutter.expect_columns(); });
}

uint64_t Dataset::token_hash() const {
  return hash({reinterpret_cast<const char*>(tokens_.data()), tokens_.size() * sizeof(Token)}, kHashStart);
}

Dataset::Range Dataset::range(int64_t i) const {
  const auto after = std::upper_bound(files_.begin(), files_.end(), i,
                                      [](int64_t sample, const File& f) { return sample < f.first_sample; });
  const File& file = *(after - 1);
  const int64_t in_file = i - file.first_sample;
  if (!file.is_windows) {
    const size_t end = size_t(file.first_end + in_file);
    return {in_file > 0 ? sample_end_[end - 1] : file.tokens.begin, sample_end_[end]};
  }
  int64_t begin = file.tokens.begin + in_file;
  if (bos_ >= 0 && tokens_[size_t(begin)] == bos_) ++begin;
  return {begin, std::min(begin + options_.n_ctx, file.tokens.end)};
}

int64_t Dataset::end_of_file(size_t file) const {
  return file + 1 < files_.size() ? files_[file + 1].first_sample : n_samples();
}

std::vector<int64_t> Dataset::side_by_side() const {
  std::vector<int64_t> samples;
  for (size_t f = 0; f < files_.size(); ++f) {
    const int64_t step = files_[f].is_windows ? options_.n_ctx : 1;
    for (int64_t i = files_[f].first_sample; i < end_of_file(f); i += step) samples.push_back(i);
  }
  return samples;
}

std::vector<int64_t> Dataset::numbers(bool windows) const {
  std::vector<int64_t> samples;
  for (size_t f = 0; f < files_.size(); ++f) {
    if (files_[f].is_windows != windows) continue;
    for (int64_t i = files_[f].first_sample; i < end_of_file(f); ++i) samples.push_back(i);
  }
  return samples;
}

void Dataset::sample(int64_t i, std::vector<Token>& inputs, std::vector<Token>& targets) const {
  const Range r = range(i);
  inputs.clear();
  targets.clear();
  if (bos_ >= 0) inputs.push_back(bos_);
  std::transform(tokens_.begin() + r.begin, tokens_.begin() + r.end - 1, std::back_inserter(inputs), id_of);
  std::transform(tokens_.begin() + r.begin + (bos_ >= 0 ? 0 : 1), tokens_.begin() + r.end,
                 std::back_inserter(targets), target_of);
}

}  // namespace lora
