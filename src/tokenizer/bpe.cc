#include "tokenizer/bpe.h"

#include "base/error.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "tokenizer/byte_letters.h"
#include "tokenizer/compose.h"

namespace lora {
Bpe::Bpe(const Vocabulary& vocab, const Gguf& gguf, const PreTokenizerRow& row)
    : vocab_(vocab), pre_tokenizer_(row), composes_(row.composes), ignore_merges_(row.ignore_merges) {
  constexpr std::string_view key = "tokenizer.ggml.merges";
  const std::vector<std::string>* merges = gguf.get_strings(key);
  if (!merges) fail("{}: {}: missing, a \"gpt2\" vocabulary needs it", gguf.path(), key);
  // Keys of our own conversion, for what its tokenizer.json has otherwise than the name implies.
  composes_ = gguf.get_bool("tokenizer.ggml.compose_accents").value_or(composes_);
  ignore_merges_ = gguf.get_bool("tokenizer.ggml.ignore_merges").value_or(ignore_merges_);

  std::unordered_map<std::string, int32_t> extra;
  for (int byte = 0; byte < 256; ++byte) {
    std::string letter;
    append_utf8(letter, byte_to_letter(uint8_t(byte)));
    byte_symbols_[size_t(byte)] = intern(letter, {-1, -1}, extra);
  }
  merges_.reserve(merges->size());
  for (size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string& line = (*merges)[rank];
    const size_t space = line.find(' ', 1);
    if (space == std::string::npos || space + 1 == line.size()) {
      fail("{}: {}: entry {} is \"{}\", not two symbols", gguf.path(), key, rank, printable(line));
    }
    const std::string left = line.substr(0, space), right = line.substr(space + 1);
    const Parts parts{intern(left, {-1, -1}, extra), intern(right, {-1, -1}, extra)};
    const int32_t merged = intern(left + right, parts, extra);
    merges_.try_emplace(pair_key(parts.left, parts.right), Merge{int32_t(rank), merged});
  }
}

int32_t Bpe::intern(const std::string& spelling, Parts parts,
                    std::unordered_map<std::string, int32_t>& extra) {
  const Token token = vocab_.find_text(spelling);
  if (token >= 0) return token;
  const auto [it, added] = extra.try_emplace(spelling, int32_t(vocab_.pieces.size() + parts_.size()));
  if (added) parts_.push_back(parts);
  return it->second;
}

void Bpe::encode(std::string_view text, Scratch& scratch, std::vector<Token>& out) const {
  if (composes_) text = composed(text, scratch.composed);
  pre_tokenizer_.split(text, [&](std::string_view word) {
    scratch.words.append(word, out, [&] { encode_word(word, scratch, out); });
  });
}

void Bpe::encode_word(std::string_view word, Scratch& scratch, std::vector<Token>& out) const {
  if (word.size() > size_t(INT32_MAX)) fail("text: a word of more than 2 GiB");
  if (ignore_merges_ && word.size() <= vocab_.max_piece_bytes) {
    scratch.spelling.clear();
    for (const char c : word) append_utf8(scratch.spelling, byte_to_letter(uint8_t(c)));
    const Token whole = vocab_.find_text(scratch.spelling);
    if (whole >= 0) {
      out.push_back(whole);
      return;
    }
  }
  Symbols& symbols = scratch.symbols;
  symbols.clear();
  symbols.reserve(word.size());
  for (const char c : word) append_symbol(symbols, byte_symbols_[uint8_t(c)], 1);
  merge_symbols(
      symbols, scratch.heap, [&](int32_t left, int32_t middle, int32_t, int32_t& rank, int32_t& symbol) {
        const auto it = merges_.find(pair_key(symbols[size_t(left)].id, symbols[size_t(middle)].id));
        if (it == merges_.end()) return false;
        rank = it->second.rank;
        symbol = it->second.symbol;
        return true;
      });
  for (size_t i = 0; i < symbols.size(); i += size_t(symbols[i].size)) {
    append_symbol_tokens(symbols[i].id, scratch, out);
  }
}

void Bpe::append_symbol_tokens(int32_t symbol, Scratch& scratch, std::vector<Token>& out) const {
  scratch.stack.assign(1, symbol);
  while (!scratch.stack.empty()) {
    const int32_t top = scratch.stack.back();
    scratch.stack.pop_back();
    if (top < vocab_.size()) {
      out.push_back(top);
      continue;
    }
    const Parts parts = parts_[size_t(top - vocab_.size())];
    if (parts.left < 0) continue;
    scratch.stack.push_back(parts.right);
    scratch.stack.push_back(parts.left);
  }
}

std::string Bpe::decode(Token token) const {
  const std::string& piece = vocab_.pieces[size_t(token)];
  std::string bytes;
  for (size_t at = 0; at < piece.size();) {
    const Utf8Step step = decode_utf8(piece, at);
    const int byte = letter_to_byte(step.code);
    if (byte >= 0) {
      bytes += char(byte);
    } else {
      bytes.append(piece, at, step.size);
    }
    at += step.size;
  }
  return bytes;
}

}  // namespace lora
