// Text to token ids and back, as the model's own metadata (tokenizer.ggml.*) prescribes.
//
// Three families: `llama` (SentencePiece-style: the pair with the best score is merged first, byte
// fallback, a leading space) and `gpt2` (byte-level BPE after a pre-tokenizer's pattern, named by
// tokenizer.ggml.pre, which also says whether accents are composed first: Qwen's and Command R's are),
// and `gemma4`, SentencePiece-style over a list of merges.
// Input that is not UTF-8 is accepted: stray bytes become byte tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf.h"

namespace lora {

using Token = int32_t;

// The bytes [begin, end) of a text.
struct TextRange {
  size_t begin, end;
};

enum class TokenKind : uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

class Tokenizer {
 public:
  // Reads tokenizer.ggml.*; Error naming the file if the model has no vocabulary, or its
  // tokenizer.ggml.model or .pre is unknown (the known ones are listed), ids are out of range, or scores or
  // merges are missing or malformed.
  explicit Tokenizer(const Gguf& gguf);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Ids of the text without BOS or EOS. Special (control) tokens spelled in the text are read as such only
  // with parse_special; user-defined (added) tokens are always matched, as llama.cpp does.
  // With the leading-space rule (tokenizer.ggml.add_space_prefix) a space goes before the text and before
  // text that follows such a token; with tokenizer.ggml.metaspace = "first" before the text alone, and then
  // as with "always" not where there is one already. Thread-safe; time grows as n log n of the longest run
  // without a place to cut, which for ordinary text is a word, and memory is little more than the result.
  std::vector<Token> encode(std::string_view text, bool parse_special = false) const;

  // The same with BOS before where the model uses one (add_bos), never twice: if the text already
  // begins with BOS (parsed special), none is added.
  std::vector<Token> encode_with_bos(std::string_view text, bool parse_special = false) const;

  // Bytes of one token; may be a part of a UTF-8 character. Control tokens give "" unless `special`.
  std::string decode(Token token, bool special = false) const;
  // Bytes of a whole text; undoes the spaces that encode() adds (llama family): decode(encode(x), true) is x
  // for any bytes, as far as the vocabulary can spell them, except that ▁ (U+2581) comes back as a space, a
  // space that "metaspace" did not double is lost, and
  // accents composed where the tokenizer composes them.
  std::string decode(const std::vector<Token>& tokens, bool special = false) const;
  // The spelling stored in the vocabulary ("▁the", "<0x0A>", "Ġthe"). Like decode(), kind() and is_end(),
  // throws Error for a token outside the vocabulary.
  const std::string& piece(Token token) const;
  TokenKind kind(Token token) const;

  int32_t n_vocab() const;
  Token bos() const;     // -1 where the model has none
  Token eos() const;     // -1 where the model has none
  Token eot() const;     // end of turn, -1 if none
  Token unk() const;     // -1 where the model has none
  Token pad() const;     // tokenizer.ggml.padding_token_id, -1 if none
  bool add_bos() const;  // whether a text starts with BOS
  bool add_eos() const;  // tokenizer.ggml.add_eos_token
  // Ids after which generation ends: EOS, EOT, EOM and tokens that model families spell so ("<|im_end|>"),
  // which count as control tokens even where the file says otherwise.
  bool is_end(Token token) const;
  const std::string& chat_template() const;  // tokenizer.chat_template, "" if none
  // tokenizer.chat_template.NAME of those that tokenizer.chat_templates lists.
  const std::map<std::string, std::string, std::less<>>& named_chat_templates() const;
  // The token spelled so, of any kind; -1 if none.
  Token find(std::string_view piece) const;
  // The first token in the text that encode() would read only with parse_special (control and unknown
  // tokens): for the warning that special tokens are not read.
  Token find_special_spelling(std::string_view text) const;  // -1 if none

 private:
  friend class Encoder;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Encodes many texts with one tokenizer, several times faster than call by call: it remembers words. Keeps a
// reference to the tokenizer; for one thread.
class Encoder {
 public:
  explicit Encoder(const Tokenizer& tokenizer);
  ~Encoder();
  Encoder(Encoder&&) noexcept;

  // Appends what tokenizer.encode(text, parse_special) gives.
  void append(std::vector<Token>& tokens, std::string_view text, bool parse_special = false);
  // The same with special tokens read only within the stretches `special_in`, in order and apart: a
  // template's, not the words that a user put into it.
  void append(std::vector<Token>& tokens, std::string_view text, std::span<const TextRange> special_in);
  // The text goes on from the one before, of whose tokens it changes none: no space is put before it, except
  // after a special token, and there only if the text does not begin with one.
  void append_next(std::vector<Token>& tokens, std::string_view text, std::span<const TextRange> special_in);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lora
