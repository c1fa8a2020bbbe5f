// The tokens of words met before. A text says most of its words many times, and a word always becomes the
// same tokens.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace lora {

class WordCache {
 public:
  // Holds up to n_slots words, a power of two; 0: none, ever. A new word takes the place of the one that its
  // hash collides with.
  explicit WordCache(size_t n_slots) : slots_(n_slots) {}

  // Appends the tokens of the word to `out`: those it knows, else those that encode() appends.
  template <class Encode>
  void append(std::string_view word, std::vector<Token>& out, const Encode& encode) {
    if (slots_.empty() || word.size() >= sizeof(Key)) {
      encode();
      return;
    }
    const Key key = key_of(word);
    Slot& slot = slots_[hash_of(key) & (slots_.size() - 1)];
    if (slot.key == key) {
      out.insert(out.end(), slot.tokens.begin(), slot.tokens.begin() + slot.n_tokens);
      return;
    }
    const size_t before = out.size(), n_tokens = (encode(), out.size() - before);
    if (n_tokens > slot.tokens.size()) return;
    slot.key = key;
    slot.n_tokens = int32_t(n_tokens);
    std::copy(out.begin() + std::ptrdiff_t(before), out.end(), slot.tokens.begin());
  }

 private:
  // The bytes of a word, zeros, and its length in the last byte: no word has the key of an empty slot.
  using Key = std::array<uint64_t, 4>;

  struct Slot {  // a cache line
    Key key{};
    std::array<Token, 7> tokens;
    int32_t n_tokens;
  };
  static_assert(sizeof(Slot) == 64);

  static Key key_of(std::string_view word) {
    std::array<char, sizeof(Key)> bytes{};
    std::memcpy(bytes.data(), word.data(), word.size());
    bytes.back() = char(word.size());
    Key key;
    std::memcpy(key.data(), bytes.data(), sizeof key);
    return key;
  }

  static size_t hash_of(const Key& key) {
    uint64_t h = 0;
    for (const uint64_t part : key) h = (h ^ part) * 0x9e3779b97f4a7c15ull, h ^= h >> 32;
    return size_t(h);
  }

  std::vector<Slot> slots_;
};

}  // namespace lora
