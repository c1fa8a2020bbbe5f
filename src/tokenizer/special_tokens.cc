#include "tokenizer/special_tokens.h"

#include <algorithm>

namespace lora {
namespace {

bool is_ascii_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

SpecialTokens::SpecialTokens(const Vocabulary& vocab, const std::vector<Token>& strip_after)
    : vocab_(vocab), trie_(1), strips_after_(vocab.pieces.size(), false) {
  for (const Token id : strip_after) strips_after_[size_t(id)] = true;
  for (Token id = 0; id < vocab.size(); ++id) {
    if (vocab.kinds[size_t(id)] == TokenKind::user_defined || is_control(id)) insert(id);
  }
}

void SpecialTokens::insert(Token token) {
  const std::string& piece = vocab_.pieces[size_t(token)];
  if (piece.empty()) return;
  starts_[uint8_t(piece[0])] = true;
  size_t node = 0;
  for (const char c : piece) {
    const auto& next = trie_[node].next;
    const auto it = std::find_if(next.begin(), next.end(), [c](const auto& edge) { return edge.first == c; });
    if (it != next.end()) {
      node = size_t(it->second);
    } else {
      const size_t added = trie_.size();
      trie_[node].next.emplace_back(c, int32_t(added));
      trie_.emplace_back();
      node = added;
    }
  }
  if (trie_[node].token < 0) trie_[node].token = token;
}

bool SpecialTokens::is_control(Token token) const {
  const TokenKind kind = vocab_.kinds[size_t(token)];
  return kind == TokenKind::control || kind == TokenKind::unknown;
}

bool SpecialTokens::is_read(Token token, size_t at, std::span<const TextRange> special_in) const {
  if (!is_control(token)) return true;
  const auto after = std::upper_bound(special_in.begin(), special_in.end(), at,
                                      [](size_t place, const TextRange& r) { return place < r.begin; });
  return after != special_in.begin() && at + vocab_.pieces[size_t(token)].size() <= (after - 1)->end;
}

template <class Visit>
void SpecialTokens::visit_matches(std::string_view text, size_t at, std::span<const TextRange> special_in,
                                  const Visit& visit) const {
  if (!starts_[uint8_t(text[at])]) return;
  size_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto& next = trie_[node].next;
    const char c = text[i];
    const auto it = std::find_if(next.begin(), next.end(), [c](const auto& edge) { return edge.first == c; });
    if (it == next.end()) return;
    node = size_t(it->second);
    const Token token = trie_[node].token;
    if (token >= 0 && is_read(token, at, special_in)) visit(token);
  }
}

// End of the token spelled at `at`, with the white space that it swallows.
size_t SpecialTokens::end_of(std::string_view text, size_t at, Token token, size_t limit) const {
  size_t end = at + vocab_.pieces[size_t(token)].size();
  if (strips_after_[size_t(token)]) {
    while (end < limit && is_ascii_space(text[end])) ++end;
  }
  return end;
}

// Decides a stretch of overlapping occurrences of the tokens `found`; appends its spans in order.
void SpecialTokens::resolve(std::string_view text, std::span<const TextRange> special_in, size_t begin,
                            size_t end, std::vector<Token>& found, std::vector<Span>& spans) const {
  std::sort(found.begin(), found.end(), [&](Token a, Token b) {
    const size_t size_a = vocab_.pieces[size_t(a)].size(), size_b = vocab_.pieces[size_t(b)].size();
    return size_a != size_b ? size_a > size_b : a < b;
  });
  std::vector<Span> taken, next;
  for (const Token token : found) {
    const std::string& piece = vocab_.pieces[size_t(token)];
    next.clear();
    size_t free_begin = begin;
    for (size_t i = 0; i <= taken.size(); ++i) {  // the gap before each span, and the one behind the last
      const size_t free_end = i < taken.size() ? taken[i].begin : end;
      while (free_begin < free_end) {
        const size_t at = text.substr(0, free_end).find(piece, free_begin);
        if (at == std::string_view::npos) break;
        if (!is_read(token, at, special_in)) {
          free_begin = at + 1;
          continue;
        }
        free_begin = end_of(text, at, token, free_end);
        next.push_back({at, free_begin, token});
      }
      if (i < taken.size()) {
        next.push_back(taken[i]);
        free_begin = taken[i].end;
      }
    }
    taken.swap(next);
  }
  spans.insert(spans.end(), taken.begin(), taken.end());
}

void SpecialTokens::split(std::string_view text, std::span<const TextRange> special_in,
                          const std::function<void(std::string_view)>& on_text,
                          const std::function<void(Token)>& on_token) const {
  std::vector<Token> found;
  std::vector<Span> spans;
  size_t text_begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    size_t end = begin;
    found.clear();
    do {
      visit_matches(text, at, special_in, [&](Token token) {
        end = std::max(end, end_of(text, at, token, text.size()));
        if (std::find(found.begin(), found.end(), token) == found.end()) found.push_back(token);
      });
      ++at;
    } while (at < end);
    if (found.empty()) continue;
    spans.clear();
    resolve(text, special_in, begin, end, found, spans);
    for (const Span& span : spans) {
      if (text_begin < span.begin) on_text(text.substr(text_begin, span.begin - text_begin));
      on_token(span.token);
      text_begin = span.end;
    }
  }
  if (text_begin < text.size()) on_text(text.substr(text_begin));
}

Token SpecialTokens::find_control(std::string_view text) const {
  Token control = -1;
  const TextRange whole{0, text.size()};
  for (size_t at = 0; at < text.size() && control < 0; ++at) {
    visit_matches(text, at, {&whole, 1}, [&](Token token) {
      if (is_control(token)) control = token;
    });
  }
  return control;
}

}  // namespace lora
