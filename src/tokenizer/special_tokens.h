// Tokens that are looked up in the text as a whole before anything else: user-defined (added) tokens always,
// control and unknown tokens only where the caller says so.
//
// The rule is llama.cpp's: tokens are taken in the order of their length, the longest first, and each takes
// all its occurrences, from left to right, in the text that longer ones left over. It is applied per stretch
// of overlapping occurrences, which gives the same result in one pass over the text.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace lora {

class SpecialTokens {
 public:
  // Keeps a reference to the vocabulary. `strip_after` lists tokens that swallow the white space behind them.
  SpecialTokens(const Vocabulary& vocab, const std::vector<Token>& strip_after);

  // Calls text(bytes) and token(id) for the parts of the text, in order. No text part is empty. Control and
  // unknown tokens are read where they lie within one of the stretches `special_in`, in order and apart.
  void split(std::string_view text, std::span<const TextRange> special_in,
             const std::function<void(std::string_view)>& on_text,
             const std::function<void(Token)>& on_token) const;
  // The first control or unknown token spelled in the text, -1 if none.
  Token find_control(std::string_view text) const;

 private:
  struct TrieNode {
    std::vector<std::pair<char, int32_t>> next;
    Token token = -1;
  };
  struct Span {
    size_t begin, end;  // white space that the token swallows included
    Token token;
  };

  void insert(Token token);
  // Calls visit(token) for every token spelled at the position that is to be read.
  template <class Visit>
  void visit_matches(std::string_view text, size_t at, std::span<const TextRange> special_in,
                     const Visit& visit) const;
  bool is_read(Token token, size_t at, std::span<const TextRange> special_in) const;
  bool is_control(Token token) const;
  size_t end_of(std::string_view text, size_t at, Token token, size_t limit) const;
  void resolve(std::string_view text, std::span<const TextRange> special_in, size_t begin, size_t end,
               std::vector<Token>& found, std::vector<Span>& spans) const;

  const Vocabulary& vocab_;
  std::vector<TrieNode> trie_;
  std::array<bool, 256> starts_{};  // bytes that some token begins with
  std::vector<bool> strips_after_;  // per token
};

}  // namespace lora
