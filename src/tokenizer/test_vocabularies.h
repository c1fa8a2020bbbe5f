// What the tests of this module share: small vocabularies written to a file and read back, and random text.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "base/utf8.h"
#include "gguf/test_files.h"
#include "tokenizer/byte_letters.h"
#include "tokenizer/tokenizer.h"

namespace lora::test {

// A vocabulary to be built piece by piece; open() writes it and reads it back.
struct VocabularyFile {
  std::string model = "llama";
  std::string pre;  // "" writes no key
  std::vector<std::string> tokens{};
  std::vector<double> scores{};
  std::vector<int64_t> kinds{};
  std::vector<std::string> merges{};
  GgufWriter writer{};  // further keys

  VocabularyFile& add(std::string token, double score = 0, TokenKind kind = TokenKind::normal) {
    tokens.push_back(std::move(token));
    scores.push_back(score);
    kinds.push_back(int64_t(kind));
    return *this;
  }

  // The 256 letters of the byte alphabet.
  VocabularyFile& add_byte_letters() {
    for (int byte = 0; byte < 256; ++byte) {
      std::string letter;
      append_utf8(letter, byte_to_letter(uint8_t(byte)));
      add(letter);
    }
    return *this;
  }

  VocabularyFile& add_merge(const std::string& left, const std::string& right) {
    merges.push_back(left + " " + right);
    return add(left + right);
  }

  Gguf open() {
    writer.set_string("tokenizer.ggml.model", model);
    if (!pre.empty()) writer.set_string("tokenizer.ggml.pre", pre);
    writer.set_strings("tokenizer.ggml.tokens", tokens);
    if (model != "gpt2") {
      writer.set("tokenizer.ggml.scores", {GgufValueType::array, GgufValueType::f32, scores});
    }
    if (model != "llama") writer.set_strings("tokenizer.ggml.merges", merges);
    writer.set("tokenizer.ggml.token_type", {GgufValueType::array, GgufValueType::i32, kinds});
    const ScratchFile file("vocabulary.gguf");
    writer.write(file.path);
    return Gguf::open(file.path);
  }
};

inline std::string bundled_model() {
  return LORA_SOURCE_DIR "/models/tiny-q8_0.gguf";
}

// The bundled model and, where they exist, the vocabularies that are not ours to ship.
inline std::vector<std::string> all_vocabularies() {
  std::vector<std::string> paths{bundled_model()};
  for (const char* name :
       {"deepseek-coder", "falcon", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2", "starcoder"}) {
    const std::string path = std::string(LORA_SHARED_DIR "/vocab/ggml-vocab-") + name + ".gguf";
    if (file_exists(path)) paths.push_back(path);
  }
  return paths;
}

// Random numbers below n, a function of the seed and how many were drawn.
struct Dice {
  uint64_t seed;
  uint64_t drawn = 0;
  uint64_t below(uint64_t n) { return random_bits(seed, Purpose::test, 0, drawn++) % n; }
};

// About `n` fragments of every sort: words, runs, digits, letters of many scripts, spellings of tokens.
// With `stray`, bytes that are no UTF-8 too. U+2581 is left out: SentencePiece writes the space so, and
// nothing can tell the two apart afterwards.
inline std::string random_text(Dice& dice, const Tokenizer& tokenizer, int n, bool stray) {
  const std::vector<std::string> words = {"the",
                                          "The",
                                          " of",
                                          "ing",
                                          "'s",
                                          "'LL",
                                          " I've",
                                          "(x)",
                                          "==",
                                          "<s>",
                                          "</s>",
                                          "<0x0A>",
                                          "\r\n",
                                          "\n\n",
                                          "\t",
                                          "1234567",
                                          " 12",
                                          "\xc3\xa9",
                                          "\xe4\xb8\xad\xe6\x96\x87",
                                          "\xd0\xb4\xd0\xb0",
                                          "\xf0\x9f\x98\x80",
                                          "\xe2\x80\x8d",
                                          "\xc2\xa0",
                                          "\xe3\x80\x82",
                                          "\xe0\xa4\xa8\xe0\xa4\xae\xe0\xa4\xb8\xe0\xa5\x8d",
                                          "<|endoftext|>",
                                          "<|im_end|>"};
  std::string text;
  for (int i = 0; i < n; ++i) {
    switch (dice.below(stray ? 8 : 7)) {
      case 0:
        text += words[dice.below(words.size())];
        break;
      case 1:
        text.append(1 + dice.below(12), ' ');
        break;
      case 2:
        text.append(1 + dice.below(20), char('a' + dice.below(26)));
        break;
      case 3:
        text += char(dice.below(128));
        break;
      case 4: {
        uint32_t code = uint32_t(dice.below(dice.below(2) ? 0x3000 : 0x110000));
        if ((code >= 0xd800 && code < 0xe000) || code == 0x2581) code = 'x';
        append_utf8(text, code);
        break;
      }
      case 5:
      case 6:
        text += tokenizer.decode(Token(dice.below(uint64_t(tokenizer.n_vocab()))), false);
        break;
      default:
        text += char(128 + dice.below(128));
        break;
    }
  }
  // Pieces of random tokens may be parts of characters; without `stray` they must not stay in.
  std::string clean;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    if ((stray || step.code < kStrayByte) && step.code != 0x2581) clean.append(text, at, step.size);
    at += step.size;
  }
  return clean;
}

}  // namespace lora::test
