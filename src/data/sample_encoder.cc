#include "data/sample_encoder.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "base/error.h"
#include "data/cutter.h"

namespace lora {

SampleEncoder::SampleEncoder(const Tokenizer& tokenizer, const TextOptions& options, Token bos, Token eos)
    : tokenizer_(tokenizer), options_(options), bos_(bos), eos_(eos), encoder_(tokenizer) {}

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
  if (!templates_) templates_.emplace(options_.chat_template, tokenizer_, path, options_.chat_settings);
}

void SampleEncoder::add_record(EncodedSamples& out, const Record& record) {
  if (!options_.train_on_all && !record.only_with_all.empty()) fail("{}", record.only_with_all);
  if (!record.chat) return add_texts(out, record);
  if (record.in_alpacas_words && !alpaca_)
    alpaca_.emplace("alpaca", *find_built_in_template("alpaca"), chat_tokens(tokenizer_));
  const ChatTemplate& chat = record.in_alpacas_words ? *alpaca_ : templates_->of(*record.chat);
  out.report.chat_templates.insert(chat.name());
  try {
    if (record.splits_between_turns) {
      add_in_parts(out, *record.chat, chat);
    } else {
      add_conversation(out, *record.chat, chat);
    }
  } catch (const jinja::TemplateError& error) {
    fail("the chat template ({}) refuses it: {}", chat.name(), error.what());
  }
}

int64_t SampleEncoder::n_tokens(const Conversation& conversation, const ChatTemplate& chat) {
  TrainingText longest;
  write_training_texts(conversation, chat, training_options(), tokenizer_, [&](TrainingText text) {
    if (longest.trained.empty() || text.text.size() > longest.text.size()) longest = std::move(text);
  });
  t_.clear();
  if (longest.trained.empty()) {
    const WrittenDown written = WrittenDown::in_its_form(conversation, chat, false);
    encoder_.append(t_, written.text(written.n_messages(), false), true);
  } else {
    append(longest);
    end_conversation();
  }
  return int64_t(t_.size());
}

// Each part is as many turns as find room in the context, behind the system message and the last
// overlap_turns of the part before, which are read and not trained on again. A turn is a question with what
// is said until the next one.
void SampleEncoder::add_in_parts(EncodedSamples& out, const Conversation& conversation,
                                 const ChatTemplate& chat) {
  const std::vector<ChatMessage>& messages = conversation.messages;
  size_t n_head = 0;
  while (n_head < messages.size() && messages[n_head].role == "system") ++n_head;
  std::vector<size_t> begins;  // of turns, and the end
  for (size_t i = n_head; i < messages.size(); ++i) {
    const bool asks = messages[i].role == "user" && i > n_head && messages[i - 1].role != "user";
    if (i == n_head || asks) begins.push_back(i);
  }
  begins.push_back(messages.size());
  const size_t n_turns = begins.size() - 1;
  const auto part = [&](size_t context, size_t first, size_t end) {
    Conversation some = {{messages.begin(), messages.begin() + std::ptrdiff_t(n_head)}, conversation.tools};
    for (size_t i = begins[context]; i < begins[end]; ++i) {
      some.messages.push_back(messages[i]);
      some.messages.back().is_context |= i < begins[first];
    }
    return some;
  };
  const auto fits = [&](size_t context, size_t first, size_t end) {
    return n_tokens(part(context, first, end), chat) <= options_.n_ctx;
  };
  size_t n_parts = 0;
  std::string why_not;  // of the first part that was not kept
  for (size_t first = 0, end = 0; first < n_turns; first = end) {
    size_t context = first - std::min(first, size_t(options_.overlap_turns));
    while (context < first && !fits(context, first, first + 1)) ++context;
    // Twice as many until they do not fit, then between.
    size_t step = 1;
    for (end = first + 1; end + step <= n_turns && fits(context, first, end + step); step *= 2) end += step;
    for (; step > 0; step /= 2) {
      if (end + step <= n_turns && fits(context, first, end + step)) end += step;
    }
    const Conversation some = part(context, first, end);
    const auto is_reply = [](const ChatMessage& m) { return m.role == "assistant" && !m.is_context; };
    if (end < n_turns || n_parts > 0) {
      if (std::ranges::none_of(some.messages, is_reply)) continue;  // the last question, say
    }
    try {
      add_conversation(out, some, chat);
      ++n_parts;
    } catch (const jinja::TemplateError&) {
      throw;
    } catch (const Error& error) {  // a turn that is too long by itself, say: the others are trained on
      if (why_not.empty()) why_not = error.what();
      count_cut(out.report, n_tokens(some, chat));
    }
  }
  if (n_parts == 0) fail("{}", why_not.empty() ? "nothing to train on: the assistant says nothing" : why_not);
  out.report.n_split += n_parts > 1;
}

void SampleEncoder::add_texts(EncodedSamples& out, const Record& record) {
  if (is_blank(record.completion) && !(options_.train_on_all && !is_blank(record.prompt)))
    fail("nothing to train on: the text is empty");
  std::vector<Piece> pieces;
  const auto add = [&](std::string_view text, bool is_trained) {
    find_special(out, text);
    std::vector<TextRange> special_in;
    if (options_.parse_special) special_in.push_back({0, text.size()});
    if (!text.empty()) pieces.push_back({text, is_trained, std::move(special_in)});
  };
  add(record.prompt, options_.train_on_all);
  add(record.completion, true);
  append_pieces(pieces);
  if (t_.empty()) fail("nothing to train on: the text is no more than the BOS that stands before each");
  if (eos_ >= 0 && !tokenizer_.is_end(id_of(t_.back()))) t_.push_back(eos_);
  const int64_t before = n_before_trained();
  if (before >= options_.n_ctx) {
    fail("nothing to train on within {} tokens (--ctx): what comes before it takes {}", options_.n_ctx,
         before);
  }
  if (before == int64_t(t_.size()))
    fail("nothing to train on: a single token, with neither BOS nor EOS beside it");
  keep(out, false);
}

void SampleEncoder::add_conversation(EncodedSamples& out, const Conversation& conversation,
                                     const ChatTemplate& chat) {
  DatasetReport& report = out.report;
  for (const ChatMessage& message : conversation.messages) find_special(out, message.content);
  // To go back to where something is wrong after all.
  const auto figures = [&] { return std::tie(report.n_cut, report.n_lost, report.longest); };
  const std::tuple<int64_t, int64_t, int64_t> before = figures();
  const size_t n_tokens = out.tokens.size(), n_samples = out.sample_tokens.size();
  int64_t least_before = std::numeric_limits<int64_t>::max(), n_texts = 0;
  try {
    const ChatForm form = write_training_texts(
        conversation, chat, training_options(), tokenizer_, [&](const TrainingText& text) {
          append(text);
          if (text.ends_turn) end_conversation();
          ++n_texts;
          const int64_t n_before = n_before_trained();
          least_before = std::min(least_before, n_before);
          if (n_before < options_.n_ctx && n_before < int64_t(t_.size())) return keep(out, false);
          count_cut(report, int64_t(t_.size()));
          report.longest = std::max(report.longest, int64_t(t_.size()));
        });
    if (n_texts == 0) {
      const bool is_weighted = std::ranges::any_of(conversation.messages, &ChatMessage::is_context);
      fail("nothing to train on: {}",
           is_weighted ? "all that the assistant says has weight 0" : "the assistant says nothing");
    }
    if (out.sample_tokens.size() == n_samples) {
      fail("nothing to train on within {} tokens (--ctx): what comes before it takes {}", options_.n_ctx,
           least_before);
    }
    report.n_system_in_user += form.system_in_user;
    report.n_user_first += form.user_first;
    report.n_rewritten += n_texts > 1;
    report.n_rewritten_texts += n_texts > 1 ? n_texts : 0;
  } catch (const Error&) {
    figures() = before;
    out.tokens.resize(n_tokens);
    out.sample_tokens.resize(n_samples);
    throw;
  }
}

// A mark that is a token ends it by itself, also where the tokenizer does not know it as an end.
void SampleEncoder::end_conversation() {
  if (t_.empty()) return;
  const Token last = id_of(t_.back());
  if (eos_ >= 0 && !tokenizer_.is_end(last) && tokenizer_.kind(last) != TokenKind::control)
    t_.push_back(eos_);
}

// Without BOS the first token has none before it and is no target.
int64_t SampleEncoder::n_before_trained() const {
  const auto begin = t_.begin() + (bos_ >= 0 || t_.empty() ? 0 : 1);
  return std::find_if(begin, t_.end(), [](Token token) { return token >= 0; }) - t_.begin();
}

void SampleEncoder::append(const TrainingText& written) {
  std::vector<Piece> pieces;
  const std::string_view text = written.text;
  size_t at = 0;
  const auto add = [&](size_t end, bool is_trained) {
    if (end <= at) return;
    Piece piece = {text.substr(at, end - at), is_trained, {}};
    for (const TextRange& range : written.special_in) {
      const size_t begin = std::max(range.begin, at), stop = std::min(range.end, end);
      if (begin < stop) piece.special_in.push_back({begin - at, stop - at});
    }
    pieces.push_back(std::move(piece));
    at = end;
  };
  for (const TextRange& range : written.trained) {
    add(range.begin, false);
    add(range.end, true);
  }
  add(text.size(), false);
  append_pieces(pieces);
}

// What is trained on is encoded by itself: when the model is asked, its prompt ends there too.
void SampleEncoder::append_pieces(const std::vector<Piece>& pieces) {
  t_.clear();
  for (const Piece& piece : pieces) {
    const size_t n_before = t_.size();
    if (n_before == 0) {
      encoder_.append(t_, piece.text, piece.special_in);
    } else {
      encoder_.append_next(t_, piece.text, piece.special_in);
    }
    if (piece.is_trained) continue;
    const auto begin = t_.begin() + int64_t(n_before);
    std::transform(begin, t_.end(), begin, stored_untrained);
  }
  drop_bos();
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
