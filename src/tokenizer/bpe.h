// Byte-level BPE (tokenizer.ggml.model = "gpt2"): the text is cut into words by the pre-tokenizer; in a word,
// whose first symbols are its bytes, the adjacent pair with the lowest merge rank is merged first, the
// leftmost among equals.
//
// Source: Sennrich et al., "Neural machine translation of rare words with subword units" (ACL 2016), on bytes
// as in GPT-2 (Radford et al. 2019).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/merge.h"
#include "tokenizer/pre_tokenizers.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/word_cache.h"

namespace lora {

class Bpe {
 public:
  // Keeps a reference to the vocabulary. Throws Error if the merges are missing or malformed.
  Bpe(const Vocabulary& vocab, const Gguf& gguf, const PreTokenizerRow& row);

  // What encode() works with, kept between calls.
  struct Scratch {
    WordCache words;
    std::string composed, spelling;
    Symbols symbols;
    std::vector<MergeCandidate<int32_t>> heap;
    std::vector<int32_t> stack;

    explicit Scratch(size_t n_words) : words(n_words) {}
  };

  // Appends the ids of the text, composed where the model's tokenizer does so. Bytes that the vocabulary has
  // no token for are dropped, as llama.cpp does: its unknown token, where there is one, is the end of text.
  void encode(std::string_view text, Scratch& scratch, std::vector<Token>& out) const;
  // The bytes a token stands for.
  std::string decode(Token token) const;

 private:
  struct Merge {
    int32_t rank;
    int32_t symbol;
  };
  struct Parts {
    int32_t left, right;  // -1: a byte without a token
  };
  int32_t intern(const std::string& spelling, Parts parts, std::unordered_map<std::string, int32_t>& extra);
  void encode_word(std::string_view word, Scratch& scratch, std::vector<Token>& out) const;
  void append_symbol_tokens(int32_t symbol, Scratch& scratch, std::vector<Token>& out) const;

  const Vocabulary& vocab_;
  PreTokenizer pre_tokenizer_;
  bool composes_;
  bool ignore_merges_;
  std::array<int32_t, 256> byte_symbols_;
  std::unordered_map<uint64_t, Merge> merges_;  // key: left symbol, right symbol
  // A symbol is a token, or n_vocab + an index into this list: merges may pass through spellings that are no
  // token, and come out as the tokens of their parts.
  std::vector<Parts> parts_;
};

}  // namespace lora
