// SentencePiece-style encoding (tokenizer.ggml.model = "llama"): a space is written ▁ (U+2581), and of all
// adjacent pairs whose concatenation is a token, the one with the best score is merged first, the leftmost
// among equals. A character that ends up in no token becomes its byte tokens <0xNN>.
//
// The text is one unit by definition, but need not be one list of symbols: where no token of the vocabulary
// contains two characters side by side, no merge can ever join them, and the merges left and right of that
// point do not see each other. Cutting there is exact, and leaves pieces of about a word.
//
// Gemma 4's ("gemma4") is the same over a list of merges: of all adjacent tokens that stand in it, those that
// stand first are merged first. Lines are apart, and a run of line ends that is a token becomes that one, as
// in llama.cpp.
//
// Source: Kudo, Richardson, "SentencePiece" (EMNLP 2018); the merging by score is that of its BPE model.
#pragma once

#include <array>
#include <bitset>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tokenizer/merge.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/word_cache.h"

namespace lora {

inline constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581

class Spm {
 public:
  // Keeps a reference to the vocabulary. Throws Error if the scores are missing, too few or not numbers; of
  // "gemma4" if the merges are missing or malformed.
  Spm(const Vocabulary& vocab, const Gguf& gguf);

  // What encode() works with, kept between calls.
  struct Scratch {
    WordCache words;
    std::string piece;
    Symbols symbols;
    std::vector<MergeCandidate<float>> heap;

    explicit Scratch(size_t n_words) : words(n_words) {}
  };

  // Appends the ids of the text, with a space before it if `space_prefix`.
  void encode(std::string_view text, bool space_prefix, Scratch& scratch, std::vector<Token>& out) const;
  // The bytes a token stands for: byte tokens their byte, ▁ a space.
  std::string decode(Token token) const;

 private:
  // Pairs of code points that stand side by side in some token.
  class Pairs {
   public:
    void add(uint32_t left, uint32_t right);
    bool contains(uint32_t left, uint32_t right) const;

   private:
    std::bitset<128 * 128> ascii_;
    std::unordered_set<uint64_t> other_;
  };

  void encode_piece(Scratch& scratch, std::vector<Token>& out) const;
  void merge_piece(Scratch& scratch, std::vector<Token>& out) const;
  void read_merges(const Gguf& gguf);
  void append_bytes(std::string_view character, std::vector<Token>& out) const;

  const Vocabulary& vocab_;
  bool by_merges_;             // else by scores
  std::vector<float> scores_;  // of tokens
  struct Merge {
    float rank;
    Token token;
  };
  std::unordered_map<uint64_t, Merge> merges_;  // key: left token, right token
  std::array<Token, 256> byte_tokens_;          // -1 where the vocabulary has none
  Pairs pairs_;
};

}  // namespace lora
