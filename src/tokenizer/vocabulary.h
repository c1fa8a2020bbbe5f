// The token list of a model: spellings, kinds, scores and the tokens with a role, from tokenizer.ggml.*.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace lora {

// Spellings that model families use for the end of a turn, the most specific first.
std::span<const std::string_view> end_of_turn_spellings();
// Whether generation ends after a token spelled so, in any vocabulary.
bool is_end_spelling(std::string_view piece);

struct Vocabulary {
  // Throws Error naming the file and the key that is missing, too short or out of range.
  explicit Vocabulary(const Gguf& gguf);
  Vocabulary(const Vocabulary&) = delete;  // `ids` points into `pieces`
  Vocabulary& operator=(const Vocabulary&) = delete;

  std::string model;  // tokenizer.ggml.model
  std::vector<std::string> pieces;
  std::vector<TokenKind> kinds;
  std::unordered_map<std::string_view, Token> ids;  // the first id of each spelling
  size_t max_piece_bytes = 0;

  Token bos = -1, eos = -1, eot = -1, unk = -1, pad = -1;
  std::vector<bool> ends;  // per token: generation stops after it

  Token size() const { return Token(pieces.size()); }
  // The token spelled so, -1 if none.
  Token find(std::string_view piece) const;
  // The same among those that plain text may become: not control, unknown or byte tokens. SentencePiece keeps
  // these out of its merging too; otherwise the text "<s>" could turn into BOS.
  Token find_text(std::string_view piece) const;
};

}  // namespace lora
