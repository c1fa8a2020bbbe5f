// Properties on random text, valid UTF-8 and not, for every vocabulary at hand.
#include <gtest/gtest.h>

#include <array>
#include <cctype>
#include <thread>
#include <unordered_map>

#include "tokenizer/compose.h"
#include "tokenizer/pre_tokenizers.h"
#include "tokenizer/test_vocabularies.h"
#include "tokenizer/vocabulary.h"

namespace lora {
namespace tokenizer_property_test {

using test::Dice;
using test::random_text;

// The definition of SentencePiece-style merging, on the whole text at once: take the best pair, the leftmost
// among equals, until there is none. O(n^2).
std::vector<Token> plain_spm(const Vocabulary& vocab, const std::vector<double>& scores,
                             const std::string& text, bool space_prefix) {
  const std::string space = "\xe2\x96\x81";
  std::vector<std::string> symbols;
  if (space_prefix) symbols.push_back(space);
  for (size_t at = 0; at < text.size();) {
    const size_t size = decode_utf8(text, at).size;
    symbols.push_back(text[at] == ' ' ? space : text.substr(at, size));
    at += size;
  }
  while (true) {
    size_t best = symbols.size();
    double best_score = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const Token id = vocab.find_text(symbols[i] + symbols[i + 1]);
      if (id >= 0 && (best == symbols.size() || scores[size_t(id)] > best_score)) {
        best = i;
        best_score = scores[size_t(id)];
      }
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + std::ptrdiff_t(best) + 1);
  }
  std::vector<Token> tokens;
  for (const std::string& symbol : symbols) {
    const Token id = vocab.find_text(symbol);
    if (id >= 0) {
      tokens.push_back(id);
      continue;
    }
    for (const unsigned char byte : symbol) tokens.push_back(vocab.find(fmt::format("<0x{:02X}>", byte)));
  }
  return tokens;
}

// Byte-level BPE of one word by its definition, on spellings.
std::vector<Token> plain_bpe(const Vocabulary& vocab, const std::unordered_map<std::string, size_t>& ranks,
                             std::string_view word, bool ignore_merges) {
  std::vector<std::string> symbols;
  std::string whole;
  for (const char c : word) {
    append_utf8(symbols.emplace_back(), byte_to_letter(uint8_t(c)));
    whole += symbols.back();
  }
  if (ignore_merges && vocab.find_text(whole) >= 0) return {vocab.find_text(whole)};
  while (true) {
    size_t best = symbols.size(), best_rank = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = ranks.find(symbols[i] + " " + symbols[i + 1]);
      if (it != ranks.end() && (best == symbols.size() || it->second < best_rank)) {
        best = i;
        best_rank = it->second;
      }
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + std::ptrdiff_t(best) + 1);
  }
  std::vector<Token> tokens;
  for (const std::string& symbol : symbols) {
    if (vocab.find_text(symbol) >= 0) tokens.push_back(vocab.find_text(symbol));
  }
  return tokens;
}

// Bytes that a byte-level vocabulary cannot give back: those without a token of their own, and those whose
// only token is an added one, which stands for its spelling.
std::array<bool, 256> lost_bytes(const Gguf& gguf, const Tokenizer& tokenizer) {
  std::array<bool, 256> lost{};
  if (gguf.get_string("tokenizer.ggml.model") != "gpt2") return lost;
  const Vocabulary vocab(gguf);
  for (size_t byte = 0; byte < 256; ++byte) {
    std::string letter;
    append_utf8(letter, byte_to_letter(uint8_t(byte)));
    const Token id = vocab.find_text(letter);
    lost[byte] = id < 0 || tokenizer.kind(id) == TokenKind::user_defined;
  }
  return lost;
}

// The text that a vocabulary's tokens stand for: composed, where its tokenizer composes.
std::string as_encoded(const Gguf& gguf, const std::string& text) {
  const PreTokenizerRow* row = find_pre_tokenizer(gguf.get_string("tokenizer.ggml.pre").value_or(""));
  std::string buffer;
  return row && row->composes ? std::string(composed(text, buffer)) : text;
}

// A text without what the reference does not do: user-defined tokens.
bool spells_user_defined(const Vocabulary& vocab, const std::string& text) {
  for (Token id = 0; id < vocab.size(); ++id) {
    if (vocab.kinds[size_t(id)] == TokenKind::user_defined &&
        text.find(vocab.pieces[size_t(id)]) != text.npos) {
      return true;
    }
  }
  return false;
}

class Property : public testing::TestWithParam<std::string> {};

TEST_P(Property, DecodingUndoesEncoding) {
  const Gguf gguf = Gguf::open(GetParam());
  const Tokenizer tokenizer(gguf);
  const std::array<bool, 256> lost = lost_bytes(gguf, tokenizer);
  Dice dice{11};
  for (int i = 0; i < 1500; ++i) {
    std::string text = random_text(dice, tokenizer, int(dice.below(40)), i % 2 == 1);
    std::erase_if(text, [&](char c) { return lost[uint8_t(c)]; });
    const std::vector<Token> tokens = tokenizer.encode(text);
    ASSERT_EQ(tokenizer.decode(tokens, true), as_encoded(gguf, text));
  }
}

TEST_P(Property, MergingAgreesWithItsDefinition) {
  const Gguf gguf = Gguf::open(GetParam());
  const Tokenizer tokenizer(gguf);
  const Vocabulary vocab(gguf);
  const bool is_spm = vocab.model == "llama";
  std::vector<double> scores;
  std::unordered_map<std::string, size_t> ranks;
  const PreTokenizerRow* row = nullptr;
  if (is_spm) {
    scores = gguf.get_floats("tokenizer.ggml.scores").value();
  } else {
    row = find_pre_tokenizer(gguf.get_string("tokenizer.ggml.pre").value());
    ASSERT_NE(row, nullptr);
    const std::vector<std::string>& merges = *gguf.get_strings("tokenizer.ggml.merges");
    for (size_t rank = 0; rank < merges.size(); ++rank) ranks.emplace(merges[rank], rank);
  }
  Dice dice{12};
  int compared = 0;
  for (int i = 0; i < 400; ++i) {
    const std::string text = random_text(dice, tokenizer, 1 + int(dice.below(30)), i % 2 == 1);
    if (text.empty() || spells_user_defined(vocab, text)) continue;
    std::vector<Token> expected;
    if (is_spm) {
      expected = plain_spm(vocab, scores, text, true);
    } else {
      PreTokenizer(*row).split(as_encoded(gguf, text), [&](std::string_view word) {
        const std::vector<Token> part = plain_bpe(vocab, ranks, word, row->ignore_merges);
        expected.insert(expected.end(), part.begin(), part.end());
      });
    }
    ASSERT_EQ(tokenizer.encode(text), expected) << text;
    ++compared;
  }
  EXPECT_GT(compared, 100);
}

TEST_P(Property, ManyThreadsMayEncodeAtOnce) {
  const Tokenizer tokenizer(Gguf::open(GetParam()));
  Dice dice{13};
  std::vector<std::string> texts;
  std::vector<std::vector<Token>> expected;
  for (int i = 0; i < 50; ++i) {
    texts.push_back(random_text(dice, tokenizer, 30, i % 2 == 1));
    expected.push_back(tokenizer.encode(texts.back()));
  }
  std::array<int, 4> wrong{};
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < texts.size(); ++i) count += tokenizer.encode(texts[i]) != expected[i];
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

// More words than it remembers, each said several times, some too long to be remembered.
TEST_P(Property, AnEncoderGivesWhatSingleCallsGive) {
  const Tokenizer tokenizer(Gguf::open(GetParam()));
  Encoder encoder(tokenizer);
  Dice dice{17};
  std::vector<std::string> words;
  for (int i = 0; i < 20000; ++i) {
    std::string word;
    for (uint64_t n = 1 + dice.below(i % 100 == 0 ? 60 : 9); n > 0; --n) word += char('a' + dice.below(26));
    words.push_back(word);
  }
  for (int i = 0; i < 300; ++i) {
    std::string text = i % 3 == 0 ? random_text(dice, tokenizer, 30, i % 2 == 1) : "";
    for (int k = 0; k < 200; ++k) text += (k % 7 == 0 ? "" : " ") + words[dice.below(words.size())];
    std::vector<Token> tokens = {7};
    encoder.append(tokens, text, i % 2 == 0);
    std::vector<Token> expected = tokenizer.encode(text, i % 2 == 0);
    expected.insert(expected.begin(), 7);
    ASSERT_EQ(tokens, expected) << text;
  }
}

// Of one vocabulary: what goes on gets no space before it, but after a special token one that is not there
// yet.
TEST(Encoder, ATextThatGoesOn) {
  const Tokenizer tokenizer(Gguf::open(test::bundled_model()));
  Encoder encoder(tokenizer);
  const auto joined = [&](std::string_view first, std::string_view next) {
    std::vector<Token> tokens;
    encoder.append(tokens, first, true);
    encoder.append_next(tokens, next, {});
    return tokens;
  };
  EXPECT_EQ(joined("the", " whale"), tokenizer.encode("the whale"));
  EXPECT_EQ(joined("The ship.\n", "whale"), tokenizer.encode("The ship.\nwhale"));
  EXPECT_EQ(joined("the</s>", "whale"), tokenizer.encode("the</s>whale", true));
  EXPECT_EQ(joined("the</s>", " whale"), tokenizer.encode("the</s>whale", true));
  EXPECT_NE(joined("the</s>", "</s>"), tokenizer.encode("the</s></s>", true));
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param.substr(info.param.rfind('/') + 1);
  std::erase_if(name, [](unsigned char c) { return !std::isalnum(c); });
  return name;
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Property, testing::ValuesIn(test::all_vocabularies()), test_name);

}  // namespace tokenizer_property_test
}  // namespace lora
