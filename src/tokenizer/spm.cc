#include "tokenizer/spm.h"

#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/printable.h"
#include "base/utf8.h"

namespace lora {
namespace {

constexpr uint32_t kSpaceMarkCode = 0x2581;

// ▁ and the space are one character to the merges.
uint32_t merge_code(uint32_t code) {
  return code == kSpaceMarkCode ? ' ' : code;
}

std::vector<float> read_scores(const Gguf& gguf, size_t n_vocab) {
  constexpr std::string_view key = "tokenizer.ggml.scores";
  const std::optional<std::vector<double>> stored = gguf.get_floats(key);
  if (!stored) fail("{}: {}: missing, a \"llama\" vocabulary needs it", gguf.path(), key);
  if (stored->size() < n_vocab) {
    fail("{}: {}: {} values for a vocabulary of {}", gguf.path(), key, stored->size(), n_vocab);
  }
  std::vector<float> scores(n_vocab);
  for (size_t i = 0; i < n_vocab; ++i) {
    if (std::isnan((*stored)[i])) fail("{}: {}: the score of token {} is not a number", gguf.path(), key, i);
    scores[i] = float((*stored)[i]);
  }
  return scores;
}

// The byte that a spelling like <0x0A> stands for, -1 for any other spelling.
int byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return -1;
  int byte = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    byte = byte * 16 + digit;
  }
  return byte;
}

}  // namespace

void Spm::Pairs::add(uint32_t left, uint32_t right) {
  if ((left | right) < 128) {
    ascii_.set(left * 128 + right);
  } else {
    other_.insert(uint64_t{left} << 32 | right);
  }
}

bool Spm::Pairs::contains(uint32_t left, uint32_t right) const {
  if ((left | right) < 128) return ascii_[left * 128 + right];
  return other_.count(uint64_t{left} << 32 | right) != 0;
}

Spm::Spm(const Vocabulary& vocab, const Gguf& gguf) : vocab_(vocab), by_merges_(vocab.model == "gemma4") {
  if (by_merges_)
    read_merges(gguf);
  else
    scores_ = read_scores(gguf, vocab.pieces.size());
  byte_tokens_.fill(-1);
  for (Token id = 0; id < vocab.size(); ++id) {
    const std::string& piece = vocab.pieces[size_t(id)];
    const int byte = byte_of_piece(piece);
    if (byte >= 0 && byte_tokens_[size_t(byte)] < 0) byte_tokens_[size_t(byte)] = id;
    for (size_t at = 0, left_size = 0; at < piece.size(); at += left_size) {
      const Utf8Step left = decode_utf8(piece, at);
      left_size = left.size;
      if (at + left_size == piece.size()) break;
      pairs_.add(merge_code(left.code), merge_code(decode_utf8(piece, at + left_size).code));
    }
  }
}

void Spm::read_merges(const Gguf& gguf) {
  constexpr std::string_view key = "tokenizer.ggml.merges";
  constexpr size_t kMost = size_t{1} << 24;  // ranks are exact in f32
  const std::vector<std::string>* merges = gguf.get_strings(key);
  if (!merges) fail("{}: {}: missing, a \"gemma4\" vocabulary needs it", gguf.path(), key);
  if (merges->size() > kMost) fail("{}: {}: {} merges make no sense", gguf.path(), key, merges->size());
  merges_.reserve(merges->size());
  for (size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string& line = (*merges)[rank];
    const size_t space = line.find(' ', 1);
    if (space == std::string::npos || space + 1 == line.size()) {
      fail("{}: {}: entry {} is \"{}\", not two symbols", gguf.path(), key, rank, printable(line));
    }
    const Token left = vocab_.find_text(line.substr(0, space)),
                right = vocab_.find_text(line.substr(space + 1)),
                merged = vocab_.find_text(line.substr(0, space) + line.substr(space + 1));
    if (left >= 0 && right >= 0 && merged >= 0)
      merges_.try_emplace(pair_key(left, right), Merge{float(rank), merged});
  }
}

void Spm::encode(std::string_view text, bool space_prefix, Scratch& scratch, std::vector<Token>& out) const {
  scratch.piece.clear();
  uint32_t previous = ' ';
  if (space_prefix) scratch.piece += kSpaceMark;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    const uint32_t code = merge_code(step.code);
    const bool is_edge = by_merges_ && (code == '\n') != (previous == '\n');
    if (!scratch.piece.empty() && (is_edge || !pairs_.contains(previous, code))) encode_piece(scratch, out);
    if (scratch.piece.size() > size_t(INT32_MAX) - 8) {
      fail("text: more than 2 GiB without a place where the vocabulary allows a cut");
    }
    scratch.piece += code == ' ' ? kSpaceMark : text.substr(at, step.size);
    previous = code;
    at += step.size;
  }
  if (!scratch.piece.empty()) encode_piece(scratch, out);
}

// Turns the collected piece into tokens and empties it.
void Spm::encode_piece(Scratch& scratch, std::vector<Token>& out) const {
  scratch.words.append(scratch.piece, out, [&] { merge_piece(scratch, out); });
  scratch.piece.clear();
}

void Spm::merge_piece(Scratch& scratch, std::vector<Token>& out) const {
  const std::string_view piece = scratch.piece;
  if (by_merges_ && piece.front() == '\n') {
    if (const Token run = vocab_.find_text(piece); run >= 0) return out.push_back(run);
  }
  Symbols& symbols = scratch.symbols;
  symbols.clear();
  symbols.reserve(piece.size());
  while (symbols.size() < piece.size()) {
    const size_t at = symbols.size(), size = decode_utf8(piece, at).size;
    append_symbol(symbols, by_merges_ ? vocab_.find_text(piece.substr(at, size)) : -1, int32_t(size));
  }
  merge_symbols(
      symbols, scratch.heap, [&](int32_t left, int32_t middle, int32_t right, float& key, int32_t& id) {
        if (by_merges_) {
          const auto it = merges_.find(pair_key(symbols[size_t(left)].id, symbols[size_t(middle)].id));
          if (it == merges_.end()) return false;
          key = it->second.rank;
          id = it->second.token;
          return true;
        }
        id = vocab_.find_text(piece.substr(size_t(left), size_t(right - left)));
        if (id < 0) return false;
        key = -scores_[size_t(id)];
        return true;
      });
  for (size_t i = 0; i < symbols.size(); i += size_t(symbols[i].size)) {
    const Symbol& symbol = symbols[i];
    const std::string_view bytes = piece.substr(i, size_t(symbol.size));
    const Token id = symbol.id >= 0 ? symbol.id : vocab_.find_text(bytes);
    if (id >= 0) {
      out.push_back(id);
    } else {
      append_bytes(bytes, out);
    }
  }
}

void Spm::append_bytes(std::string_view character, std::vector<Token>& out) const {
  const size_t before = out.size();
  for (const char c : character) {
    const Token id = byte_tokens_[uint8_t(c)];
    if (id < 0) {
      out.resize(before);
      if (vocab_.unk >= 0) out.push_back(vocab_.unk);
      return;
    }
    out.push_back(id);
  }
}

std::string Spm::decode(Token token) const {
  const std::string& piece = vocab_.pieces[size_t(token)];
  if (vocab_.kinds[size_t(token)] == TokenKind::byte) {
    const int byte = byte_of_piece(piece);
    if (byte >= 0) return std::string(1, char(byte));
  }
  std::string text;
  for (size_t at = 0; at < piece.size();) {
    const size_t mark = std::min(piece.find(kSpaceMark, at), piece.size());
    text.append(piece, at, mark - at);
    if (mark < piece.size()) text += ' ';
    at = mark + kSpaceMark.size();
  }
  return text;
}

}  // namespace lora
