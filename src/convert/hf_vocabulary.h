// The vocabulary of a Hugging Face folder, as GGUF's tokenizer.* keys have it: from tokenizer.model or
// tokenizer.json, with the added tokens, roles and chat template of the files beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gguf/gguf.h"
#include "tokenizer/tokenizer.h"

namespace lora {

struct HfVocabulary {
  struct Entry {
    std::string text;
    double score = 0;
    TokenKind kind = TokenKind::normal;
  };
  std::string model = "llama";  // or "gpt2", HfFamily::merges_as
  std::string pre = "default";  // pre-tokenizer's name; "": none is written
  std::vector<Entry> tokens;
  std::vector<std::string> merges;  // of all but "llama": "left right"
  std::optional<int64_t> bos, eos, eot, eom, unk, pad;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
  std::string metaspace;  // of "llama": prepend_scheme, where a Metaspace adds the space; else ""
  std::optional<bool> composes, ignore_merges;  // of "gpt2", where they are not as `pre` implies
  std::vector<std::string> not_done;            // what of the files no key says, a line each
  std::vector<std::pair<std::string, std::string>> chat_templates;  // name, "default" for the one; text

  void set_keys(GgufWriter& writer) const;
};

// Ids that config.json gives, for roles that the tokenizer's files do not fill.
struct TokenRoles {
  std::optional<int64_t> bos, eos, pad;
  // Whether the family's tokenizer puts a space before a text, whatever its files say.
  std::optional<bool> add_space_prefix = std::nullopt;
  std::string_view merges_as = "";                     // HfFamily::merges_as
  std::span<const std::string_view> seen_tokens = {};  // HfFamily::seen_tokens
};

// How many tokens the model has.
struct VocabularySize {
  int64_t n = 0;
  bool is_counted = false;  // its embedding has as many rows; else it is but a number in config.json
};

// A vocabulary of exactly `size` tokens: padded with unused ones, or cut, which is said. Error naming the
// file for a tokenizer of a kind that is not known, and for a size that is not counted and far from the
// tokenizer's.
HfVocabulary read_hf_vocabulary(const std::string& folder, const VocabularySize& size,
                                const TokenRoles& config, const std::function<void(std::string_view)>& say);

// The parts of it that read one file. Added tokens by their id: of tokenizer.json they are in `added`.
struct AddedToken {
  std::string text;
  bool special = false;
};
using AddedTokens = std::map<int64_t, AddedToken>;
inline constexpr int64_t kMaxTokens = int64_t{1} << 24;  // ids are below
// The most ids that a tokenizer of so many tokens may leave room for: padding and gaps are fewer than tokens.
inline constexpr int64_t most_ids(int64_t n_tokens) {
  return 2 * n_tokens + 8192;
}
HfVocabulary vocabulary_of_tokenizer_json(std::string_view text, const std::string& path, AddedTokens& added,
                                          std::string_view merges_as = "");
// What a tokenizer.model does not say but the tokenizer.json beside it.
struct BesideModel {
  AddedTokens added;
  std::string metaspace;
};
BesideModel read_beside_model(std::string_view text, const std::string& path);
HfVocabulary vocabulary_of_sentencepiece(std::span<const std::byte> bytes, const std::string& path);

}  // namespace lora
