// Pre-tokenizers of byte-level BPE: the patterns that cut a text into words before any merge, by the name
// that tokenizer.ggml.pre gives. Adding one is adding a row to the table in pre_tokenizers.cc.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

struct PreTokenizerRow {
  std::vector<std::string_view> names;
  // PCRE2 patterns, applied one after the other: each cuts every part that the one before left, into its
  // matches and what lies between them.
  std::vector<std::string_view> patterns;
  bool composes = false;       // accents with their letters before anything else (NFC, compose.h)
  bool add_bos = false;        // unless tokenizer.ggml.add_bos_token says otherwise
  bool ignore_merges = false;  // a word that is a token becomes that token, whatever the merges say
};

std::span<const PreTokenizerRow> pre_tokenizer_rows();
// The row of a name; nullptr if there is none.
const PreTokenizerRow* find_pre_tokenizer(std::string_view name);
// All names, separated by commas, for error messages.
std::string pre_tokenizer_names();

// A row's patterns, compiled. Thread-safe.
class PreTokenizer {
 public:
  explicit PreTokenizer(const PreTokenizerRow& row);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  // Calls word(bytes) for the words of the text in order; together they are the text. Words are valid UTF-8,
  // or stretches of bytes that are not.
  void split(std::string_view text, const std::function<void(std::string_view)>& word) const;

 private:
  struct Compiled;
  std::vector<std::unique_ptr<Compiled>> patterns_;
};

}  // namespace lora
