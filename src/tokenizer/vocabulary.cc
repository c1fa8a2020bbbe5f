#include "tokenizer/vocabulary.h"

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace lora {
namespace {

constexpr std::string_view kEndOfTurn[] = {
    "<|eot_id|>",         "<|im_end|>", "<end_of_turn>", "<|end|>", "<|endoftext|>",
    "<|end_of_text|>",    "<EOT>",      "_<EOT>",        "[EOT]",   "<｜end▁of▁sentence｜>",
    "<end_of_utterance>", "<turn|>",
};

// Further spellings after which generation ends: end of message, end of a call, and of a file in code models.
constexpr std::string_view kOtherEnds[] = {
    "</s>",         "<|eom_id|>",       "<|return|>", "<|call|>", "[EOS]",
    "<|fim_pad|>",  "<fim-pad>",        "<fim_pad>",  "<PAD>",    "[PAD]",
    "<|fim_repo|>", "<|repo_name|>",    "<fim-repo>", "<REPO>",   "<reponame>",
    "<|file_sep|>", "<|tool_response>",
};

// Fill-in-the-middle marks, which many files list as ordinary added tokens.
constexpr std::string_view kFillInMiddle[] = {
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>",  "<SUF>", "▁<SUF>",
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>",   "<MID>", "▁<MID>",
};

Token read_id(const Gguf& gguf, std::string_view key, Token n_vocab) {
  const std::optional<int64_t> id = gguf.get_int(key);
  if (!id) return -1;
  if (*id < 0 || *id >= n_vocab) {
    fail("{}: {}: token {} is outside the vocabulary of {}", gguf.path(), key, *id, n_vocab);
  }
  return Token(*id);
}

TokenKind kind_of(int64_t stored) {
  return stored >= 1 && stored <= 6 ? TokenKind(stored) : TokenKind::normal;
}

std::vector<TokenKind> read_kinds(const Gguf& gguf, size_t n_vocab) {
  constexpr std::string_view key = "tokenizer.ggml.token_type";
  std::vector<TokenKind> kinds(n_vocab, TokenKind::normal);
  const std::optional<std::vector<int64_t>> stored = gguf.get_ints(key);
  if (!stored) return kinds;
  if (stored->size() < n_vocab) {
    fail("{}: {}: {} values for a vocabulary of {}", gguf.path(), key, stored->size(), n_vocab);
  }
  std::transform(stored->begin(), stored->begin() + std::ptrdiff_t(n_vocab), kinds.begin(), kind_of);
  return kinds;
}

// Such tokens count as control tokens even where the file lists them as user-defined ones, as in llama.cpp:
// a text that merely mentions them must not become them.
void mark_control(Vocabulary& vocab, Token id) {
  vocab.kinds[size_t(id)] = TokenKind::control;
}

void mark_end(Vocabulary& vocab, Token id) {
  if (id >= 0) vocab.ends[size_t(id)] = true;
}

void find_ends(Vocabulary& vocab, const Gguf& gguf) {
  vocab.eot = read_id(gguf, "tokenizer.ggml.eot_token_id", vocab.size());
  vocab.ends.assign(vocab.pieces.size(), false);
  for (std::string_view spelling : kEndOfTurn) {
    const Token id = vocab.find(spelling);
    if (id < 0) continue;
    if (vocab.eot < 0) vocab.eot = id;
    mark_control(vocab, id);
    mark_end(vocab, id);
  }
  const bool is_gemma4 = vocab.find("<|tool_response>") >= 0;  // where </s> is a mark of HTML
  for (std::string_view spelling : kOtherEnds) {
    const Token id = vocab.find(spelling);
    if (id < 0 || (is_gemma4 && spelling == "</s>")) continue;
    mark_control(vocab, id);
    mark_end(vocab, id);
  }
  for (std::string_view spelling : kFillInMiddle) {
    const Token id = vocab.find(spelling);
    if (id >= 0) mark_control(vocab, id);
  }
  // In OpenAI's harmony format <|end|> closes one of several messages; <|return|> and <|call|> end the
  // answer.
  const Token end_of_message = vocab.find("<|end|>");
  if (end_of_message >= 0 && vocab.find("<|return|>") >= 0 && vocab.find("<|call|>") >= 0) {
    vocab.ends[size_t(end_of_message)] = false;
    if (vocab.eot == end_of_message) vocab.eot = -1;
  }
  mark_end(vocab, vocab.eos);
  mark_end(vocab, vocab.eot);
  mark_end(vocab, read_id(gguf, "tokenizer.ggml.eom_token_id", vocab.size()));
}

}  // namespace

std::span<const std::string_view> end_of_turn_spellings() {
  return kEndOfTurn;
}

bool is_end_spelling(std::string_view piece) {
  return std::ranges::find(kEndOfTurn, piece) != std::end(kEndOfTurn) ||
         std::ranges::find(kOtherEnds, piece) != std::end(kOtherEnds);
}

Vocabulary::Vocabulary(const Gguf& gguf) {
  const std::optional<std::string> stored_model = gguf.get_string("tokenizer.ggml.model");
  const std::vector<std::string>* tokens = gguf.get_strings("tokenizer.ggml.tokens");
  if (!stored_model) fail("{}: tokenizer.ggml.model: missing, the file has no vocabulary", gguf.path());
  if (!tokens || tokens->empty()) fail("{}: tokenizer.ggml.tokens: missing or empty", gguf.path());
  if (tokens->size() > size_t(INT32_MAX)) {
    fail("{}: tokenizer.ggml.tokens: {} tokens are too many", gguf.path(), tokens->size());
  }
  model = *stored_model;
  pieces = *tokens;
  kinds = read_kinds(gguf, pieces.size());
  ids.reserve(pieces.size());
  for (Token id = 0; id < size(); ++id) {
    const std::string& piece = pieces[size_t(id)];
    max_piece_bytes = std::max(max_piece_bytes, piece.size());
    if (!piece.empty()) ids.emplace(piece, id);
  }

  bos = read_id(gguf, "tokenizer.ggml.bos_token_id", size());
  eos = read_id(gguf, "tokenizer.ggml.eos_token_id", size());
  unk = read_id(gguf, "tokenizer.ggml.unknown_token_id", size());
  // Nothing is padded here: only templates may spell it, and files name tokens that are not there.
  const int64_t padding = gguf.get_int("tokenizer.ggml.padding_token_id").value_or(-1);
  if (padding >= 0 && padding < size()) pad = Token(padding);
  if (unk < 0) {
    const auto it = std::find(kinds.begin(), kinds.end(), TokenKind::unknown);
    if (it != kinds.end()) unk = Token(it - kinds.begin());
  }
  find_ends(*this, gguf);
}

Token Vocabulary::find(std::string_view piece) const {
  const auto it = ids.find(piece);
  return it == ids.end() ? -1 : it->second;
}

Token Vocabulary::find_text(std::string_view piece) const {
  if (piece.size() > max_piece_bytes) return -1;
  const Token id = find(piece);
  if (id < 0) return -1;
  const TokenKind kind = kinds[size_t(id)];
  const bool text = kind == TokenKind::normal || kind == TokenKind::user_defined || kind == TokenKind::unused;
  return text ? id : -1;
}

}  // namespace lora
