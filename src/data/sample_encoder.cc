#include "data/sample_encoder.h"

#include <algorithm>

#include "base/error.h"
#include "data/cutter.h"

namespace lora {

SampleEncoder::SampleEncoder(const Tokenizer& tokenizer, const TextOptions& options, Token bos, Token eos)
    : tokenizer_(tokenizer),
      options_(options),
      bos_(bos),
      eos_(eos),
      encoder_(tokenizer),
      chat_(template_of(nullptr, tokenizer)) {}

void SampleEncoder::find_special(EncodedSamples& out, std::string_view text) const {
  Token& found = out.report.special_spelling;
  if (!options_.parse_special && found < 0) found = tokenizer_.find_special_spelling(text);
}

void SampleEncoder::add_text(EncodedSamples& out, std::string_view text) {
  find_special(out, text);
  t_.clear();
  encoder_.append(t_, text, options_.parse_special);
  add_tokens(out, t_);
}

void SampleEncoder::add_tokens(EncodedSamples& out, std::vector<Token>& tokens) {
  t_.swap(tokens);
  drop_bos();
  if (eos_ >= 0) t_.push_back(eos_);
  count_text(out.report, int64_t(t_.size()));
  keep(out, false);
}

void SampleEncoder::add_start_of(EncodedSamples& out, std::string_view text, size_t n_own) {
  t_.clear();
  encoder_.append(t_, text.substr(0, n_own), options_.parse_special);
  drop_bos();
  count_cut(out.report, int64_t(t_.size()));
  count_text(out.report, int64_t(t_.size()));
  // Where the text ends may change the tokens before it, but not those so far before it.
  constexpr size_t margin = 64;
  const size_t wanted = size_t(options_.n_ctx) + margin;
  for (size_t bytes = 6 * wanted;; bytes *= 2) {
    t_.clear();
    encoder_.append(t_, text.substr(0, bytes), options_.parse_special);
    if (t_.size() >= wanted || bytes >= text.size()) {
      find_special(out, text.substr(0, bytes));
      drop_bos();
      if (bytes >= text.size() && eos_ >= 0) t_.push_back(eos_);
      keep(out, true);
      return;
    }
  }
}

void SampleEncoder::choose_template(std::string_view path) {
  if (!chat_.family) chat_ = choose_chat_template(options_.chat_template, tokenizer_, path);
}

void SampleEncoder::add_record(EncodedSamples& out, const Record& record) {
  const std::vector<RecordSpan> spans = record_spans(record, chat_, options_.train_on_all);
  if (std::all_of(spans.begin(), spans.end(),
                  [](const RecordSpan& s) { return s.is_template || !s.is_trained || is_blank(s.text); })) {
    const bool is_weighted = std::ranges::any_of(record.messages, &ChatMessage::is_context);
    fail("nothing to train on: {}", is_weighted      ? "all that the assistant says has weight 0"
                                    : record.is_chat ? "the assistant says nothing"
                                                     : "the text is empty");
  }
  append_spans(spans);
  drop_bos();
  for (const RecordSpan& span : spans) {
    if (!span.is_template) find_special(out, span.text);
  }
  if (eos_ >= 0 && !tokenizer_.is_end(id_of(t_.back()))) t_.push_back(eos_);
  if (bos_ < 0 && t_.size() == 1) {
    fail("nothing to train on: a single token, with neither BOS nor EOS beside it");
  }
  // Without BOS the first token has none before it and is no target.
  const auto begin = t_.begin() + (bos_ >= 0 || t_.empty() ? 0 : 1);
  const int64_t before = std::find_if(begin, t_.end(), [](Token token) { return token >= 0; }) - t_.begin();
  if (before >= options_.n_ctx || before == int64_t(t_.size())) {
    fail("nothing to train on within {} tokens (--ctx): what comes before it takes {}", options_.n_ctx,
         before);
  }
  keep(out, false);
}

// A reply is encoded by itself: when the model is asked, its prompt ends there too. So it is whether or not
// it is trained on: weights change targets alone.
void SampleEncoder::append_spans(const std::vector<RecordSpan>& spans) {
  t_.clear();
  std::string text;
  std::vector<TextRange> special_in;
  for (size_t i = 0; i < spans.size(); ++i) {
    const size_t begin = text.size();
    text += spans[i].text;
    if (spans[i].is_template || options_.parse_special) special_in.push_back({begin, text.size()});
    const bool goes_on = i + 1 < spans.size() && spans[i + 1].is_reply == spans[i].is_reply &&
                         spans[i + 1].is_trained == spans[i].is_trained;
    if (goes_on) continue;
    const size_t n_before = t_.size();
    if (n_before == 0) {
      encoder_.append(t_, text, special_in);
    } else {
      encoder_.append_next(t_, text, special_in);
    }
    if (!spans[i].is_trained)
      std::transform(t_.begin() + int64_t(n_before), t_.end(), t_.begin() + int64_t(n_before),
                     stored_untrained);
    text.clear();
    special_in.clear();
  }
}

// The BOS that a text begins with is the one that goes before every sample.
void SampleEncoder::drop_bos() {
  if (bos_ >= 0 && !t_.empty() && id_of(t_[0]) == bos_) t_.erase(t_.begin());
}

void SampleEncoder::count_cut(DatasetReport& report, int64_t n) const {
  report.n_cut += n > options_.n_ctx;
  report.n_lost += std::max<int64_t>(0, n - options_.n_ctx);
}

void SampleEncoder::count_text(DatasetReport& report, int64_t n) const {
  report.text_tokens += n;
  report.text_lost += std::max<int64_t>(0, n - options_.n_ctx);
  report.text_longest = std::max(report.text_longest, n);
}

// Adds the sample at hand, its EOS included.
void SampleEncoder::keep(EncodedSamples& out, bool may_be_longer) {
  DatasetReport& report = out.report;
  const int64_t n = int64_t(t_.size());
  if (n < (bos_ >= 0 ? 1 : 2)) {
    ++(n == 0 ? report.n_blank : report.n_short);
    return;
  }
  int64_t kept = std::min(n, options_.n_ctx);
  if (!may_be_longer) count_cut(report, n);
  report.longest = std::max(report.longest, n);
  // Nothing is learned from what comes after the last token that is trained on.
  while (kept > 1 && t_[size_t(kept) - 1] < 0) --kept;
  out.tokens.insert(out.tokens.end(), t_.begin(), t_.begin() + kept);
  out.sample_tokens.push_back(kept);
}

}  // namespace lora
